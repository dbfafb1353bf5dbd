"""Checks of plug-ins that are on the path, and small limits."""

from contextlib import contextmanager

from peersdb.validators import File
from peersdb.validators.limits import MIB, Limits
from peersdb.validators.media import media_type
from peersdb.validators.rules import Check

#: Small, so that a test of a limit is soon over; but on the clock on the wall a busy machine takes any time.
SMALL = Limits(
    wall=300, cpu=1, memory=128 * MIB, file_size=2 * MIB, written=8 * MIB, scratch_files=50, output=65536
)


def plug_in(function, module="hostile", **options):
    return Check(f"{function}/1", b"h" * 32, f"{module}:{function}", builtin=False, options=options)


@contextmanager
def opened(path, name=None):
    """The file as a validator gets it."""
    with path.open("rb") as stream:
        name = path.name if name is None else name
        yield File(
            stream.fileno(), name, media_type(name, stream.read(8192)), path.stat().st_size, path.parent
        )


def found(check, path, name=None, **options):
    """What a built-in finds, in this process."""
    with opened(path, name) as file:
        return check(file, options)
