"""Which system calls a validator may make, compiled to a filter by libseccomp.

It is a list of what is allowed. What changes metadata (chmod, chown, utime, xattr) is not on it, as Landlock says
nothing about it; nor is anything that makes processes, threads, programs, sockets or memory without a limit.
"""

from __future__ import annotations

import ctypes
import errno
import os


def _names(text: str) -> list[str]:
    return text.split()


ALLOWED = _names("""
read readv pread64 preadv preadv2 write writev pwrite64 pwritev lseek close close_range dup dup2 dup3 pipe
pipe2 open openat creat stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2
readlink readlinkat getdents getdents64 getcwd chdir fchdir unlink unlinkat rename renameat renameat2
ftruncate fsync fdatasync flock copy_file_range sendfile fadvise64 readahead umask mmap munmap mremap
mprotect madvise brk mincore msync poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl
epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 futex futex_waitv set_robust_list get_robust_list rseq
set_tid_address membarrier restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending
rt_sigtimedwait rt_sigsuspend sigaltstack pause nanosleep clock_nanosleep clock_gettime clock_getres
gettimeofday time times alarm setitimer getitimer timerfd_create timerfd_settime timerfd_gettime getpid
getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid getsid
getpriority getrlimit getrusage sysinfo uname getcpu getrandom sched_yield sched_getaffinity sched_getparam
sched_getscheduler arch_prctl capget exit exit_group wait4 waitid
""")
#: Known, and refused with "not permitted"; what is in neither list is answered as if the kernel did not know it.
REFUSED = _names("""
fork vfork clone execve execveat socket socketpair connect bind listen accept accept4 sendto sendmsg
sendmmsg recvfrom recvmsg recvmmsg ptrace process_vm_readv process_vm_writev kill tkill tgkill pidfd_open
pidfd_send_signal pidfd_getfd setrlimit prlimit64 setuid setgid setresuid setresgid chmod fchmod fchmodat
fchmodat2 chown fchown lchown fchownat mkdir mkdirat link linkat symlink symlinkat mknod mknodat truncate
utime utimes utimensat futimesat setxattr fsetxattr lsetxattr removexattr mount umount2 chroot pivot_root
unshare setns bpf io_uring_setup memfd_create shmget fallocate setpriority sched_setaffinity
sched_setscheduler prctl ioctl fcntl seccomp setpgid setsid
""")
#: Allowed for these values of an argument alone: (call, which argument, values).
BY_ARGUMENT = (
    # Duplicates, flags and locks; not the ones that make the kernel send signals for this process.
    ("fcntl", 1, (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1034)),
    (
        "ioctl",
        1,
        (0x5401, 0x541B, 0x5413, 0x5421, 0x5450, 0x5451),
    ),  # is it a terminal, how much is there, flags
    ("prlimit64", 2, (0,)),  # reads limits, sets none
    ("prctl", 0, (15, 16)),  # a thread's name
)

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EQUAL = 4
LIBRARY = "libseccomp.so.2"


class _Compare(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def installed() -> bool:
    """Whether libseccomp is there."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def compile_filter() -> bytes:
    """The filter as the kernel takes it.

    Raises:
        OSError: libseccomp is not installed, or could not compile it.
    """
    library = ctypes.CDLL(LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    context = library.seccomp_init(_ERRNO | errno.ENOSYS)
    if not context:
        raise OSError(errno.ENOSYS, f"{LIBRARY} makes no filter here")
    handle = ctypes.c_void_p(context)
    try:
        for name in ALLOWED:
            _rule(library, handle, _ALLOW, name)
        held = {name for name, *_ in BY_ARGUMENT}
        for name in REFUSED:
            if name not in held:
                _rule(library, handle, _ERRNO | errno.EPERM, name)
        for name, argument, values in BY_ARGUMENT:
            for value in values:
                _rule(library, handle, _ALLOW, name, _Compare(argument, _EQUAL, value, 0))
        return _exported(library, handle)
    finally:
        library.seccomp_release(handle)


def _rule(
    library: ctypes.CDLL, handle: ctypes.c_void_p, action: int, name: str, compare: _Compare | None = None
) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:  # this architecture, or this libseccomp, has no such call
        return
    rules = None if compare is None else ctypes.byref(compare)
    result = library.seccomp_rule_add_array(
        handle,
        ctypes.c_uint32(action),
        ctypes.c_int(number),
        ctypes.c_uint(0 if compare is None else 1),
        rules,
    )
    if result != 0:
        raise OSError(-result, f"{LIBRARY} does not take a rule for {name}")


def _exported(library: ctypes.CDLL, handle: ctypes.c_void_p) -> bytes:
    fd = os.memfd_create("filter", os.MFD_CLOEXEC)
    try:
        result = library.seccomp_export_bpf(handle, fd)
        if result != 0:
            raise OSError(-result, f"{LIBRARY} did not compile the filter")
        size = os.fstat(fd).st_size
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)
