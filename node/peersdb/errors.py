"""The node's exception tree.

Every error that a user or a peer can cause has a class here, with a stable ``code`` (never renamed
once released) and the HTTP ``status`` of its answer. Errors of libraries are mapped to these where
the library is called, once::

    PeersDBError
    ├── UsageError            the request itself is wrong                    4xx
    │   ├── BadRequest        unreadable body, wrong arguments
    │   ├── UnknownCommand
    │   ├── TooLarge
    │   └── SettingsError     a flag or an environment variable (exit 2)
    ├── InvalidData           bytes that are not what they claim to be       400
    │   ├── InvalidCID
    │   ├── InvalidBlock      a block that is malformed
    │   │   └── BlockMismatch ... or does not hash to its CID
    │   ├── InvalidEntry      an entry that may not join the log; ``reason`` names the check
    │   ├── InvalidRecord     a member's address record
    │   └── InvalidMessage    a wire message
    ├── NotAvailable          right, but not now                             404, 503, 504
    │   ├── NoStore           no contributions store yet
    │   ├── NotFound          nobody who is connected has it (in time)
    │   ├── NotEnabled        a feature that this node was started without
    │   ├── PeerUnreachable
    │   ├── Busy              as many ask as may
    │   ├── SandboxUnavailable  validators cannot run here now
    │   └── ShuttingDown
    └── StorageError          the disk                                       5xx
        ├── RepoLocked        another node runs on this repo
        ├── DiskFull
        └── CorruptData       named with what is corrupt
"""


class PeersDBError(Exception):
    """Root of the tree; ``str()`` says what happened and, where it helps, what to do."""

    code = "internal"
    status = 500


class UsageError(PeersDBError):
    """The request itself is wrong."""

    code = "usage"
    status = 400


class BadRequest(UsageError):
    """The body cannot be read, or the arguments do not fit the command."""

    code = "bad_request"


class UnknownCommand(UsageError):
    """There is no command of this name."""

    code = "unknown_command"
    status = 404


class TooLarge(UsageError):
    """The body is larger than this node takes."""

    code = "too_large"
    status = 413


class SettingsError(UsageError):
    """A flag, an environment variable or a file that a flag names is wrong."""

    code = "settings"


class InvalidData(PeersDBError):
    """Bytes that are not what they claim to be."""

    code = "invalid_data"
    status = 400


class InvalidCID(InvalidData):
    """A text or bytes that are no CID this node can use."""

    code = "invalid_cid"


class InvalidBlock(InvalidData):
    """A block that is malformed for its codec."""

    code = "invalid_block"


class BlockMismatch(InvalidBlock):
    """A block that does not hash to its CID."""

    code = "block_mismatch"


class InvalidEntry(InvalidData):
    """An entry that may not join the log.

    Attributes:
        reason: the check that failed, a stable word (``signature``, ``log_id``, ...).
    """

    code = "invalid_entry"

    def __init__(self, reason: str, message: str) -> None:
        """Name the check that failed and say how."""
        super().__init__(message)
        self.reason = reason


class InvalidRecord(InvalidData):
    """A member's address record that is malformed or not signed by that member."""

    code = "invalid_record"


class InvalidMessage(InvalidData):
    """A wire message that is malformed, oversized or out of place."""

    code = "invalid_message"


class NotAvailable(PeersDBError):
    """The request is right, but cannot be served now."""

    code = "not_available"
    status = 503


class NoStore(NotAvailable):
    """The node has no contributions store yet: it has met no other member."""

    code = "no_store"


class NotFound(NotAvailable):
    """Nobody who is connected has it, or nobody answered in time."""

    code = "not_found"
    status = 404


class NotValid(NotAvailable):
    """Only a valid file was wanted, and this one is not, or nobody knows."""

    code = "not_valid"
    status = 409


class NotEnabled(NotAvailable):
    """The node was started without this feature."""

    code = "not_enabled"
    status = 404


class PeerUnreachable(NotAvailable):
    """A peer could not be dialled or went away."""

    code = "peer_unreachable"
    status = 502


class Busy(NotAvailable):
    """As many ask for this as may at once."""

    code = "busy"


class SandboxUnavailable(NotAvailable):
    """Validators cannot run here now: the machine has no process or no memory to spare."""

    code = "sandbox_unavailable"


class ShuttingDown(NotAvailable):
    """The node is stopping and takes no new work."""

    code = "shutting_down"


class StorageError(PeersDBError):
    """The disk, or what lies on it."""

    code = "storage"


class RepoLocked(StorageError):
    """Another node runs on this repo."""

    code = "repo_locked"
    status = 409


class DiskFull(StorageError):
    """There is no space left for what was to be written; what was there is kept."""

    code = "disk_full"
    status = 507


class CorruptData(StorageError):
    """Something on the disk is not what was written there.

    Attributes:
        sure: nothing else explains it; a read that failed once may succeed again.
    """

    code = "corrupt_data"

    def __init__(self, message: str, *, sure: bool = True) -> None:
        """Name what is corrupt."""
        super().__init__(message)
        self.sure = sure
