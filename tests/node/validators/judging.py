"""Checks of plug-ins that are on the path, and small limits."""

from peersdb.validators.limits import MIB, Limits
from peersdb.validators.rules import Check

#: Small, so that a test of a limit is soon over.
SMALL = Limits(
    wall=4, cpu=1, memory=128 * MIB, file_size=2 * MIB, written=8 * MIB, scratch_files=50, output=65536
)


def plug_in(function, module="hostile", **options):
    return Check(f"{function}/1", b"h" * 32, f"{module}:{function}", builtin=False, options=options)
