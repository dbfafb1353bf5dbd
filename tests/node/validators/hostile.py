"""Validators that nobody should install: what they manage to do is their finding's reason."""

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from peersdb.validators import abstain, invalid, valid

_libc = ctypes.CDLL(None, use_errno=True)


def _outcome(attempts):
    """Valid when every attempt was refused, invalid with the names of those that were not."""
    done = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except (OSError, ValueError, RuntimeError):
            continue
        done.append(name)
    return invalid(f"could: {', '.join(done)}") if done else valid(f"refused: {len(attempts)}")


def _call(number, *args):
    result = _libc.syscall(ctypes.c_long(number), *args)
    if result == 0 and number in (56, 57, 58, 220, 435):  # we are the child of a fork that should not be
        os._exit(0)
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def fine(file, options):
    with file.open() as stream:
        return valid(stream.read(20).decode())


def loop(file, options):
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    while True:
        pass


def hang(file, options):
    while True:
        time.sleep(60)


def eat(file, options):
    held = []
    while True:
        held.append(b"x" * 2**20)


def eat_mapped(file, options):
    import mmap

    held = [mmap.mmap(-1, 2**24) for _ in range(2**10)]
    return invalid(f"mapped {len(held)}")


def memory_files(file, options):
    return _outcome({"memfd": lambda: os.memfd_create("x"), "shmget": lambda: _call(29, 0, 2**20, 0o1600)})


def fork(file, options):
    processes = {
        "fork": os.fork,
        "forkpty": os.forkpty,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "system": lambda: 1 / 0 if os.system("true") == 0 else _refuse(),
        "thread": threading.Thread(target=time.sleep, args=(60,)).start,
    }
    if os.uname().machine == "x86_64":
        processes |= {
            "raw clone": lambda: _call(56, 17, 0, 0, 0, 0),
            "raw fork": lambda: _call(57),
            "raw clone3": lambda: _call(435, (ctypes.c_uint64 * 11)(), 88),
        }
    return _outcome(processes)


def _refuse():
    raise OSError("refused")


def write(file, options):
    place, victim = Path(options["outside"]), Path(options["victim"])
    return _outcome(
        {
            "create": lambda: (place / "new").write_bytes(b"x"),
            "overwrite": lambda: victim.write_bytes(b"x"),
            "append": lambda: victim.open("ab"),
            "truncate": lambda: os.truncate(victim, 0),
            "remove": victim.unlink,
            "rename": lambda: victim.rename(place / "moved"),
            "into scratch": lambda: victim.rename(file.scratch / "moved"),
            "hard link": lambda: os.link(victim, file.scratch / "link"),
            "symlink": lambda: (place / "link").symlink_to("/"),
            "folder": lambda: (place / "folder").mkdir(),
            "chmod": lambda: victim.chmod(0o777),
            "chmod folder": lambda: place.chmod(0),
            "times": lambda: os.utime(victim, (0, 0)),
            "attribute": lambda: os.setxattr(victim, "user.x", b"x"),
            "owner": lambda: os.chown(victim, 1, 1),
            "judged file": lambda: os.write(file.fd, b"x"),
            "judged file by path": lambda: open(file.path, "r+b"),
            "temporary": lambda: Path("/tmp/peersdb-hostile").write_bytes(b"x"),
            "shared memory": lambda: Path("/dev/shm/peersdb-hostile").write_bytes(b"x"),
            "other scratch": lambda: (file.scratch.parent / "other").write_bytes(b"x"),
            "folder in scratch": lambda: (file.scratch / "folder").mkdir(),
        }
    )


def scratch(file, options):
    note = file.scratch / "note"
    note.write_bytes(b"note")
    with note.open("ab") as more:
        more.write(b"s")
    note.rename(file.scratch / "notes")
    found = (file.scratch / "notes").read_bytes()
    return valid(f"{found.decode()} {sorted(os.listdir(file.scratch))}")


def huge_file(file, options):
    with (file.scratch / "huge").open("wb") as target:
        while True:
            target.write(b"x" * 2**20)


def huge_files(file, options):
    for number in range(2**20):
        with (file.scratch / str(number)).open("wb") as target:
            target.write(b"x" * 2**20)
        (file.scratch / str(number)).unlink()
    return valid()


def many_files(file, options):
    for number in range(2**30):
        (file.scratch / str(number)).touch()
    return valid()


def sockets(file, options):
    kinds = {
        "tcp": (socket.AF_INET, socket.SOCK_STREAM),
        "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
        "udp": (socket.AF_INET, socket.SOCK_DGRAM),
        "unix": (socket.AF_UNIX, socket.SOCK_STREAM),
        "netlink": (socket.AF_NETLINK, socket.SOCK_RAW),
        "raw": (socket.AF_INET, socket.SOCK_RAW),
        "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM),
        "packet": (socket.AF_PACKET, socket.SOCK_RAW),
    }
    return _outcome({name: lambda kind=kind: socket.socket(*kind) for name, kind in kinds.items()})


def read(file, options):
    secrets = options["secrets"]
    parent = os.getppid()
    return _outcome(
        {
            **{path: lambda path=path: open(path, "rb").read() for path in secrets},
            "folder": lambda: os.listdir(os.path.dirname(secrets[0])),
            "parent's environment": lambda: open(f"/proc/{parent}/environ", "rb").read(),
            "node's environment": lambda: open(f"/proc/{options['node']}/environ", "rb").read(),
            "node's memory": lambda: open(f"/proc/{options['node']}/mem", "rb"),
            "node's files": lambda: os.listdir(f"/proc/{options['node']}/fd"),
            "passwords": lambda: open("/etc/shadow", "rb").read(),
            "users": lambda: open("/etc/passwd", "rb").read(),
        }
    )


def environment(file, options):
    names = sorted(os.environ)
    open_ones = []
    for fd in range(256):
        try:
            os.fstat(fd)
        except OSError:
            continue
        open_ones.append(fd)
    return valid(json.dumps([names, open_ones]))


def kill(file, options):
    parent = os.getppid()
    return _outcome(
        {
            "parent": lambda: os.kill(parent, signal.SIGKILL),
            "node": lambda: os.kill(options["node"], signal.SIGKILL),
            "group": lambda: os.killpg(os.getpgid(parent), signal.SIGKILL),
            "all": lambda: os.kill(-1, signal.SIGKILL),
            "by descriptor": lambda: os.pidfd_open(parent),
            "by owner": lambda: __import__("fcntl").fcntl(file.fd, 8, parent),
            "priority": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
            "limits": lambda: resource.prlimit(parent, resource.RLIMIT_CPU, (1, 1)),
            "core": lambda: os.sched_setaffinity(parent, {0}),
        }
    )


def trace(file, options):
    parent = os.getppid()
    arm = os.uname().machine == "aarch64"
    return _outcome(
        {
            "attach": lambda: _call(117 if arm else 101, 16, parent, 0, 0),
            "seize": lambda: _call(117 if arm else 101, 0x4206, parent, 0, 0),
            "read memory": lambda: _call(270 if arm else 310, parent, 0, 0, 0, 0, 0),
            "keys": lambda: _call(217 if arm else 248, 0, 0, 0, 0),
            "mount": lambda: _call(40 if arm else 165, 0, 0, 0, 0, 0),
            "namespace": lambda: _call(97 if arm else 272, 0x10000000),
            "bpf": lambda: _call(280 if arm else 321, 0, 0, 0),
            "io_uring": lambda: _call(425, 1, 0),
            "perf": lambda: _call(241 if arm else 298, 0, 0, 0, 0, 0),
        }
    )


def limits(file, options):
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    kinds = ("AS", "CPU", "FSIZE", "NOFILE", "CORE")
    return _outcome(
        {
            **{
                name: lambda name=name: resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), infinite)
                for name in kinds
            },
            "parent's death": lambda: 1 / 0 if _libc.prctl(1, 0, 0, 0, 0) == 0 else _refuse(),
            "root": lambda: os.setuid(0),
            "session": os.setsid,
        }
    )


def print_much(file, options):
    while True:
        sys.stdout.write("x" * 2**16)


def print_little(file, options):
    print('{"verdict": "valid", "reason": "printed"}')
    os.write(2, b"\xff\x00\x1b[2J")
    return invalid("answered")


def exit_silently(file, options):
    os._exit(0)


def exit_by_exception(file, options):
    sys.exit(0)


def answer_garbage(file, options):
    os.write(4, bytes.fromhex(options["garbage"]))
    os._exit(0)


def answer_much(file, options):
    while True:
        os.write(4, b"[" * 2**16)


def answer_otherwise(file, options):
    return {"bool": True, "none": None, "verdict": abstain("x").__class__("splendid", "x")}[options["what"]]


def reason(file, options):
    return invalid(options["text"])


def segfault(file, options):
    ctypes.string_at(0)


def abort(file, options):
    os.abort()


def recursion(file, options):
    return recursion(file, options)


def unknown_error(file, options):
    raise KeyError(options["text"])


def close_answer_and_stay(file, options):
    os.close(4)
    time.sleep(60)


def leave_behind(file, options):
    """Two forks and sessions of their own: nothing in the kernel ties them to this process any more."""
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.setsid()
                time.sleep(60)
            os._exit(0)
    return valid("left")
