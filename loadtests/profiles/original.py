"""The shape of the original's evaluation: it ends when all is posted, not by the clock."""

from collections.abc import Iterator

from loadtests.options import Options
from loadtests.profiles.shape import Script, Tick


class Once(Script):
    """One user, until the evaluation has come to its end; then what it posted is awaited."""

    abstract = True

    def load(self, options: Options) -> Iterator[Tick]:  # noqa: ARG002  # its users are not to be chosen
        """One user."""
        self.board.evaluated.clear()
        self.board.seconds = None
        yield 1, 1.0
        self.board.evaluated.wait()
