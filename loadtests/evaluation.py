"""The original's evaluation: archives posted in turn on one node, awaited everywhere, benchmarks gathered."""

from typing import Any

from locust.exception import StopUser

from loadtests.errors import LoadTestError
from loadtests.gather import contributor, gather
from loadtests.lifecycle import BENCHMARKS
from loadtests.users import NodeUser, task
from loadtests.workload import archives


class Evaluation(NodeUser):
    """Posts the data set as one zip, then each of its folders (or files) as a zip, each as soon as the last
    is taken.

    Replication is watched for every archive; when all have arrived, or failed, the nodes' benchmarks are
    gathered.
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
        problems, benchmarks = [], []
        try:
            for payload in archives(self.run_.dataset, self.run_.rng):
                if self.api.post(payload, late=0.0):
                    self.run_.posted(payload, self.node, wait=True)
            if self.run_.replication:
                self.run_.replication.drain()
            benchmarks = gather(self.run_.nodes, self.node)
        except LoadTestError as error:
            problems.append(f"the evaluation did not come to its end: {error}")
        self.environment.runner.send_message(BENCHMARKS, {"benchmarks": benchmarks, "problems": problems})
        raise StopUser
