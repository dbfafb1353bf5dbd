"""The original's evaluation: archives posted in turn on one node, awaited everywhere, benchmarks gathered."""

from typing import Any

from locust.exception import StopUser

from loadtests.errors import LoadTestError
from loadtests.gather import contributor
from loadtests.profiles.base import NodeUser, task
from loadtests.workload import archives

EVALUATED = "peersdb_evaluated"


class Evaluation(NodeUser):
    """Posts the data set as one zip, then each of its folders (or files) as a zip, each as soon as the last
    is taken.

    When all have arrived, or failed, the nodes' benchmarks are gathered.
    """

    fixed_count = 1

    def __init__(self, environment: Any) -> None:
        """Work on one node, always the same."""
        super().__init__(environment)
        self.node = contributor(self.run_.nodes)
        self.api.node = self.node

    @task(tag="evaluation")
    def evaluate(self) -> None:
        """The whole evaluation, once."""
        problems = []
        try:
            for payload in archives(self.run_.dataset, self.run_.rng):
                if self.api.post(payload, late=0.0):
                    self.run_.posted(payload, self.node)
        except LoadTestError as error:
            problems.append(f"the evaluation did not come to its end: {error}")
        self.environment.runner.send_message(EVALUATED, {"problems": problems})
        raise StopUser
