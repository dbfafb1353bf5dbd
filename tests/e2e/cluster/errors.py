"""The harness's exception tree; ``str()`` says what happened and what to do.

::

    HarnessError
    ├── Refused         not on this machine, or not without the user's word
    ├── NotBuilt        the programs were never built
    ├── NoCluster       there is no cluster, or not this part of it
    ├── CommandFailed   a program ended with an error
    ├── ProgramEnded    a program ended that should run on
    └── NotReady        something did not happen in time
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

#: So much of what a failed program wrote is shown, in characters.
SHOWN = 2000


class HarnessError(Exception):
    """Root of the tree."""


class Refused(HarnessError):
    """The harness does not work here, or was not given leave to."""


class NotBuilt(HarnessError):
    """The programs or images were never built on this machine."""


class NoCluster(HarnessError):
    """There is no cluster, or no such part of it."""


class CommandFailed(HarnessError):
    """A program ended with an error.

    Attributes:
        status: its exit code.
        output: the end of what it wrote to standard error, or to standard output where that is empty.
    """

    def __init__(self, argv: Sequence[str], status: int, output: str) -> None:
        """Keep the end of the output: it is where programs say why."""
        self.status = status
        self.output = output.strip()[-SHOWN:]
        super().__init__(
            f"`{shlex.join(argv)[:300]}` ended with {status}: {self.output or 'it wrote nothing'}"
        )


class ProgramEnded(HarnessError):
    """A program ended that should run on; it will not get ready any more."""


class NotReady(HarnessError):
    """Something did not happen in time."""
