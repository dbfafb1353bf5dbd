"""The original's evaluation: archives posted in turn on one node, awaited everywhere, benchmarks gathered."""

import time

from locust.exception import StopUser

from loadtests.errors import LoadTestError
from loadtests.evaluating import claim, tell
from loadtests.profiles.base import NodeUser, task
from loadtests.schedule import Schedule
from loadtests.workload import archives

#: Posting begins so long (seconds, two turns at most) after the others began to follow what is posted: what that costs
#: the nodes is no part of what they are measured by.
SETTLE = 5.0


class Evaluation(NodeUser):
    """Posts the data set as one zip, then each of its folders (or files) as a zip, in turn, at the user's rate.

    Every process has one such user, and one of them posts. When all have arrived, or failed, the nodes'
    benchmarks are gathered.
    """

    @task(tag="evaluation")
    def evaluate(self) -> None:
        """The whole evaluation, once.

        Raises:
            StopUser: always, at its end.
        """
        name = claim(self.environment, self.run_.mine)
        if name is None:
            raise StopUser
        self.node = self.api.node = next(node for node in self.run_.nodes if node.name == name)
        problems: tuple[str, ...] = ()
        period = self.schedule.period
        self.schedule = Schedule(period, time.monotonic() + min(SETTLE, 2 * period))
        dataset = self.run_.dataset
        count = 1 + len(dataset.groups())
        try:
            for number, payload in enumerate(archives(dataset, self.run_.rng), 1):
                if self.api.post(payload, late=self.due()):
                    self.run_.posted(payload, self.node)
                tell(self.environment, number / count)
        except LoadTestError as error:
            problems = (f"the evaluation did not come to its end: {error}",)
        tell(self.environment, 1.0, over=True, problems=problems)
        raise StopUser
