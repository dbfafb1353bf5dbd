"""What can go wrong in a load test.

Every error that a user can meet is a ``LoadTestError``; programs catch that one at their edge and print it.
"""


class LoadTestError(Exception):
    """Root of the tree; ``str()`` says what happened and what to do."""


class OptionsError(LoadTestError):
    """An option, an environment variable or a file that it names is wrong."""


class WorkloadError(LoadTestError):
    """The data set cannot be used."""


class NodeError(LoadTestError):
    """A node could not be reached, answered with an error, or with something unexpected."""


class NodeAnswersError(NodeError):
    """A node answered, with an error."""


class ReplicationTimeout(LoadTestError):
    """An entry was not visible on a node in time."""


class JoinFailed(LoadTestError):
    """A newcomer did not start, or did not catch up in time."""


class ResultsError(LoadTestError):
    """Raw samples or a ``benchmark.json`` that cannot be read."""
