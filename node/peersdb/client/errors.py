"""The client's exception tree.

The tree of `peersdb.errors` is what a node answers; this is what can become of asking one::

ClientError
├── Misused          the command line or the environment is wrong       exit 2
└── Failed           one line with a code                               exit 1
    ├── Refused      the node's own error and code
    ├── Unreachable  nobody answers there
    ├── BrokenOff    the connection ended, or nothing came any more
    ├── BadAnswer    what answered is no node, or none that this client understands
    └── FileProblem  a file of this machine cannot be read
"""

from __future__ import annotations


class ClientError(Exception):
    """Root of the client's tree; ``str()`` says what happened and what to do."""


class Misused(ClientError):
    """The command line or the environment is wrong."""


class Failed(ClientError):
    """The command is right, but did not succeed.

    Attributes:
        code: a stable word, as in docs/http.md and docs/client.md.
    """

    code = "failed"


class Refused(Failed):
    """The node answered with an error."""

    def __init__(self, message: str, code: str) -> None:
        """The node's sentence and its code."""
        super().__init__(message)
        self.code = code


class Unreachable(Failed):
    """No connection to the node."""

    code = "unreachable"


class BrokenOff(Failed):
    """The connection ended before the answer did, or nothing came for too long."""

    code = "broken_off"


class BadAnswer(Failed):
    """What answered is no node, or none that this client understands."""

    code = "bad_answer"


class FileProblem(Failed):
    """A file of this machine cannot be read."""

    code = "unreadable"
