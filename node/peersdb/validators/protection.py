"""Which protections this machine gives, and putting them over the process that calls.

A protection that the kernel does not have is left out and said so; one that it has and refuses ends the child.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass

from peersdb.validators import kernel, syscalls
from peersdb.validators.limits import Limits

#: What the dynamic linker, the resolver of time zones and libraries read besides Python's own folders.
SYSTEM_READ = (
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
    "/sys/devices/system/cpu",
)
NO_LANDLOCK = "no landlock (not in this kernel, or forbidden): validators read and write what this user can"
NO_SECCOMP = f"no seccomp ({syscalls.LIBRARY} is not installed): validators open sockets and start processes"


@dataclass(frozen=True, slots=True)
class Protection:
    """What is on.

    Attributes:
        landlock: the version of its interface, or 0.
        seccomp: the compiled filter, or empty.
    """

    landlock: int
    seccomp: bytes


def find() -> Protection:
    """Looks at this machine; costs some milliseconds."""
    try:
        program = syscalls.compile_filter()
    except OSError:  # no libseccomp
        program = b""
    return Protection(kernel.landlock_abi(), program)


def describe(found: Protection | None = None) -> tuple[str, ...]:
    """What is on, and what is not, for people.

    Args:
        found: of `find`; without it this machine is looked at, at little cost.
    """
    abi = kernel.landlock_abi() if found is None else found.landlock
    seccomp = syscalls.installed() if found is None else bool(found.seccomp)
    return (
        "rlimits",
        "no-new-privs",
        "no capabilities",
        f"landlock ABI {abi}" if abi else NO_LANDLOCK,
        "seccomp" if seccomp else NO_SECCOMP,
    )


def set_limits(limits: Limits, file_size: int) -> None:
    """Sets the limits of this process; nothing of it can be taken back.

    Args:
        limits: the limits.
        file_size: bytes of the file, which a library may map whole.
    """
    mapped = int(_status("VmSize")) * 1024
    memory = mapped + limits.memory + file_size
    for kind, *wanted in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, limits.cpu, limits.cpu + 1),
        (resource.RLIMIT_FSIZE, limits.file_size, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        # It counts all of a user's threads and is not for root: what stops forks is seccomp. Where there is none, 0
        # lets no user but root fork.
        (resource.RLIMIT_NPROC, 0, 0),
    ):
        ceiling = resource.getrlimit(kind)[1]
        lower = ceiling != resource.RLIM_INFINITY
        soft, hard = (min(value, ceiling) if lower else value for value in wanted)
        resource.setrlimit(kind, (soft, hard))


def lock_in(protection: Protection, read: Iterable[str], scratch: str, file: int) -> None:
    """Takes from this process all that judging a file does not need.

    Args:
        protection: what to put on.
        read: folders and files that may be read, besides the system's libraries.
        scratch: the folder that may be written to.
        file: descriptor of the file to judge.

    Raises:
        OSError: the kernel refused; the process has to end.
    """
    kernel.no_new_privileges()
    if os.geteuid() == 0:
        kernel.drop_capabilities()
    if protection.landlock:
        kernel.restrict_paths(protection.landlock, (*SYSTEM_READ, *read), (scratch,), (file,))
    if protection.seccomp:
        kernel.load_filter(protection.seccomp)


def _status(field: str) -> str:
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:  # noqa: PTH123 - of a forked child
        for line in lines:
            if line.startswith(f"{field}:"):
                return line.split()[1]
    raise OSError(f"/proc/self/status has no {field}")
