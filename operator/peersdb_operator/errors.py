"""The operator's exception tree.

Every error that a user can meet has a class here, with the exit code of the command that ends in it.
``str()`` says what happened and what to do::

    OperatorError                                                   1
    ├── ManifestError         the manifest; holds every fault         1
    ├── UsageError            an argument of the command              2
    ├── KubeError             the API server                          1
    │   ├── NotFound          the object does not exist
    │   ├── Conflict          somebody else changed or made it
    │   ├── Gone              a watch or a list has to begin anew
    │   ├── Refused           the request itself is not accepted: trying again changes nothing
    │   └── Unavailable       it does not answer, or asks to come back later
    ├── ControlError          a load test's master does not do what was asked 1
    ├── BenchmarkError        a benchmark cannot be run, or broke      1
    └── LocalError            running the cluster on this machine     1
        ├── NoCluster         nothing was ever started in this directory
        ├── Busy              another command is at work on it
        ├── StateError        its directory cannot be used
        ├── NodeCommandError  there is no node program to start
        ├── PortError         no port is free
        └── NotReady          it did not come up (in time)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a manifest.

    Attributes:
        path: where, as Kubernetes writes it (``spec.regions[2].name``); empty for the document itself.
        message: what is wrong and what to do.
        line: line of the file, from 1; 0 where there is none (a field that is missing).
        column: column of the line, from 1; 0 likewise.
        shape: whether a type is wrong or a value missing, so that rules over it cannot be evaluated.
    """

    path: str
    message: str
    line: int = 0
    column: int = 0
    shape: bool = False

    def __str__(self) -> str:
        """Render as ``line:column: path: message``, leaving out what is not known."""
        where = f"{self.line}:{self.column}: " if self.line else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class OperatorError(Exception):
    """Root of the tree."""

    exit_code = 1


class ManifestError(OperatorError):
    """The manifest is refused.

    Attributes:
        faults: all that is wrong with it, in the order of the file.
    """

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        """Keep the faults and name the file they are in."""
        self.faults = tuple(faults)
        super().__init__(
            "\n".join(f"{source}:{fault}" if fault.line else f"{source}: {fault}" for fault in faults)
        )


class UsageError(OperatorError):
    """An argument of the command is wrong."""

    exit_code = 2


class KubeError(OperatorError):
    """The API server did not do what was asked.

    Attributes:
        status: its HTTP status; 0 where it did not answer.
        retry_after: seconds that it asks to wait; 0 where it says nothing.
    """

    def __init__(self, message: str, status: int = 0, retry_after: float = 0.0) -> None:
        """Keep what a caller may decide by."""
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class NotFound(KubeError):
    """The object does not exist."""


class Conflict(KubeError):
    """Somebody else changed it, or made it first."""


class Gone(KubeError):
    """A watch or a list has to begin anew."""


class Refused(KubeError):
    """The request itself is not accepted: trying again changes nothing."""


class Unavailable(KubeError):
    """The API server does not answer, or asks to come back later."""


class ControlError(OperatorError):
    """A load test's master does not do what was asked.

    Attributes:
        status: its HTTP status; 0 where it did not answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        """Keep what a caller may decide by."""
        super().__init__(message)
        self.status = status


class BenchmarkError(OperatorError):
    """A benchmark cannot be run, or broke before its results were there."""


class LocalError(OperatorError):
    """The cluster cannot be run on this machine."""


class NoCluster(LocalError):
    """Nothing was ever started in this directory."""


class Busy(LocalError):
    """Another command is at work on this cluster."""


class StateError(LocalError):
    """The cluster's directory cannot be read or written."""


class NodeCommandError(LocalError):
    """There is no node program to start."""


class PortError(LocalError):
    """No port is free."""


class NotReady(LocalError):
    """The cluster did not become ready, or not in time."""
