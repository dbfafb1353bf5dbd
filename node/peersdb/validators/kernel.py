"""The kernel's calls that lock a process in, by ctypes.

Why no library of PyPI: those for Landlock are pre-releases of one person each (one of them runs ``ldconfig`` to find
the C library), and the one for seccomp that others use was last released in 2021. The filter itself is compiled by
libseccomp, which is kept, and which is there wherever Debian's apt or systemd is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
SECCOMP_MODE_FILTER = 2

# The same numbers on every architecture.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_CAPSET = {"x86_64": 126, "aarch64": 91}

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_FILE, MAKE_REG, REFER, TRUNCATE, IOCTL_DEV = (
    1 << bit for bit in (0, 1, 2, 3, 5, 8, 13, 14, 15)
)
#: Reading a folder or file, and mapping its code: ``dlopen`` is no execution.
READ = READ_FILE | READ_DIR
#: A flat folder: no folders, links, sockets or pipes in it.
WRITE = READ | WRITE_FILE | REMOVE_FILE | MAKE_REG
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_FS_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_BIND_AND_CONNECT_TCP = 3
_SCOPE_UNIX_AND_SIGNALS = 3


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("fd", ctypes.c_int32))


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _syscall(number: int, *args: object) -> int:
    return _checked(_libc.syscall(ctypes.c_long(number), *args))


def prctl(option: int, value: int = 0) -> None:
    """Sets something of this process.

    Raises:
        OSError: the kernel refused.
    """
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def no_new_privileges() -> None:
    """From now on no program gives this process or its children more than they have."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Takes all capabilities from this process, for good: a root without them has its user id alone.

    Raises:
        OSError: the kernel refused, or the architecture is unknown.
    """
    number = _CAPSET.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"capset is not known on {os.uname().machine}")
    header, data = _CapHeader(0x20080522, 0), (_CapData * 2)()
    _syscall(number, ctypes.byref(header), ctypes.byref(data))


def landlock_abi() -> int:
    """The version of Landlock's interface that this kernel has, or 0."""
    if sys.platform != "linux":
        return 0
    try:
        return _syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:  # not built in, not switched on, or hidden by a container's filter
        return 0


def restrict_paths(abi: int, read: Iterable[str], write: Iterable[str], read_fds: Iterable[int]) -> None:
    """Allows this process the given folders and files alone; TCP, abstract sockets and signals to others not at all.

    Needs `no_new_privileges`. Descriptors that are open already go on working.

    Args:
        abi: of `landlock_abi`; what an older kernel does not know is left out.
        read: folders and files; what is not there is left out.
        write: folders that can be written to as well.
        read_fds: files that can be read, by descriptors of them.

    Raises:
        OSError: the kernel refused.
    """
    handled = _FS_OF_ABI[max(version for version in _FS_OF_ABI if version <= abi)]
    attributes = _Ruleset(
        handled, _BIND_AND_CONNECT_TCP if abi >= 4 else 0, _SCOPE_UNIX_AND_SIGNALS if abi >= 6 else 0
    )
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = _syscall(
        _LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    try:
        for paths, access in ((read, READ), (write, WRITE | TRUNCATE)):
            for path in paths:
                try:
                    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
                except FileNotFoundError:
                    continue
                try:
                    allowed = access if stat.S_ISDIR(os.fstat(fd).st_mode) else access & _ON_FILES
                    _allow(ruleset, fd, allowed & handled)
                finally:
                    os.close(fd)
        for fd in read_fds:
            _allow(ruleset, fd, READ_FILE)
        _syscall(_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, fd: int, access: int) -> None:
    rule = _PathBeneath(access, fd)
    try:
        _syscall(
            _LANDLOCK_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0)
        )
    except OSError as error:
        if error.errno != errno.EBADFD:  # a file of memory alone: it lies on no path, and needs no rule
            raise


def load_filter(program: bytes) -> None:
    """Puts a compiled seccomp filter over this process; needs `no_new_privileges`.

    Raises:
        OSError: the kernel refused.
    """
    code = _Program(len(program) // 8, program)
    zero = ctypes.c_ulong(0)
    mode = ctypes.c_ulong(SECCOMP_MODE_FILTER)
    _checked(_libc.prctl(PR_SET_SECCOMP, mode, ctypes.byref(code), zero, zero))
