"""The fork server: a small process of one thread that has imported the libraries and forks a child for each file.

It runs none of the plug-ins' code: what is not built in is imported by the child that needs it. It holds nothing of
the node's: a fresh program, started with no environment and one socket. Its end of that socket closes when the node
is gone, and then it goes as well.

Each packet on the socket is a JSON object. The first configures; then ``{"id", "target", "options", "name",
"media_type", "builtin"}`` with the file's descriptor asks for a judgement, ``{"cancel": id}`` gives one up, and
``{"id", "verdict", "reason", "seconds"}`` answers.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peersdb.validators import child, kernel, protection
from peersdb.validators.api import one_line
from peersdb.validators.limits import MIB, Limits

#: Bytes of a packet: what a socket takes at once by default is about three times as much.
MAX_PACKET = 64 * 1024
#: Seconds between two looks at what the children use.
TICK = 0.1
#: A child that was killed and is not gone after so long (seconds) hangs in the kernel; its job is answered.
STUCK = 5.0
VERDICTS = frozenset(("valid", "invalid", "error", "abstain"))
#: Added to the node's niceness: judging never takes processor time from the node.
NICENESS = 10


@dataclass(slots=True)
class Worker:
    """One child at work."""

    job: int
    pid: int
    answer: int
    output: int
    scratch: Path
    started: float
    answered: bytearray = field(default_factory=bytearray)
    printed: int = 0
    killed: str = ""
    killed_at: float = 0.0


class Server:
    """The loop."""

    def __init__(self, control: socket.socket, config: dict[str, Any]) -> None:
        self._control = control
        self._limits = Limits(**config["limits"])
        self._scratch = Path(config["scratch"])
        self._read = tuple(config["read"])
        self._protection = protection.find()
        self._workers: dict[int, Worker] = {}
        self._selector = selectors.PollSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._failed: set[str] = set()  # built-ins whose library is not installed: the child says so itself
        woken, waker = socket.socketpair()
        for end in (woken, waker):
            end.setblocking(False)
        self._woken, self._waker = woken, waker
        self._selector.register(woken, selectors.EVENT_READ)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for name in config["preload"]:
            importlib.import_module(name)
        gc.freeze()  # what is there now is never collected, so that forks go on sharing its pages

    def run(self) -> None:
        """Serves until the node closes its end."""
        self._send({"ready": os.getpid(), "protection": protection.describe(self._protection)})
        try:
            while self._turn():
                pass
        finally:
            for worker in list(self._workers.values()):
                self._kill(worker, "the node ended")
                shutil.rmtree(worker.scratch, ignore_errors=True)

    def _turn(self) -> bool:
        for key, _ in self._selector.select(TICK if self._workers else None):
            if key.fileobj is self._control:
                if not self._receive():
                    return False
            elif key.fileobj is self._woken:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
            else:
                self._pipe(key.data, key.fd)
        self._reap()
        self._end_strays()
        now = time.monotonic()
        for worker in list(self._workers.values()):
            self._look_at(worker, now)
        return True

    def _receive(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, MAX_PACKET, 1)
        except ConnectionError:
            return False
        if not data:
            return False
        message = json.loads(data)
        if "cancel" in message:
            for worker in self._workers.values():
                if worker.job == message["cancel"]:
                    self._kill(worker, "given up")
            return True
        try:
            self._start(message, fds[0])
        except OSError as error:  # no process, no descriptor, no space for the folder
            self._answer(message["id"], "error", f"the sandbox could not start a process: {error}", 0.0)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _start(self, job: dict[str, Any], file: int) -> None:
        if job["builtin"]:
            self._import(job["target"])
        scratch = self._scratch / f"job-{os.getpid()}-{job['id']}"
        scratch.mkdir(mode=0o700)
        pipes = [*os.pipe(), *os.pipe()]
        answer, answer_in, output, output_in = pipes
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            for fd in pipes:
                os.close(fd)
            scratch.rmdir()
            raise
        if pid == 0:
            child.become(
                job,
                parent=parent,
                file=file,
                answer=answer_in,
                output=output_in,
                scratch=str(scratch),
                read=self._read,
                limits=self._limits,
                protection=self._protection,
            )
        os.close(answer_in)
        os.close(output_in)
        worker = Worker(job["id"], pid, answer, output, scratch, time.monotonic())
        self._workers[pid] = worker
        for fd in (answer, output):
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ, worker)

    def _import(self, target: str) -> None:
        """A built-in's libraries are imported here, once, when it is first asked for."""
        module = target.partition(":")[0]
        if module in sys.modules or module in self._failed:
            return
        try:
            loaded = importlib.import_module(module)
            prepare = getattr(loaded, "prepare", None)
            if prepare is not None:
                prepare()
        except Exception:  # noqa: BLE001 - the child meets the same, and its answer says what
            self._failed.add(module)
        gc.freeze()

    def _pipe(self, worker: Worker, fd: int) -> None:
        try:
            data = os.read(fd, 64 * 1024)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(fd)
        elif fd == worker.answer:
            worker.answered += data
            if len(worker.answered) > self._limits.answer:
                self._kill(worker, f"answered more than {self._limits.answer} bytes")
        else:
            worker.printed += len(data)
            if worker.printed > self._limits.output:
                self._kill(worker, f"printed more than {self._limits.output} bytes")

    def _look_at(self, worker: Worker, now: float) -> None:
        if worker.killed:
            if now > worker.killed_at + STUCK:
                self._finish(worker, None)
            return
        limits = self._limits
        if now > worker.started + limits.wall:
            self._kill(worker, f"took longer than {limits.wall:g} s")
        elif _written(worker.pid) > limits.written:
            self._kill(worker, f"wrote more than {limits.written // MIB} MiB")
        elif _entries(worker.scratch, limits.scratch_files) > limits.scratch_files:
            self._kill(worker, f"made more than {limits.scratch_files} files")

    def _kill(self, worker: Worker, reason: str) -> None:
        if not worker.killed:
            worker.killed, worker.killed_at = reason, time.monotonic()
        for kill in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(worker.pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            worker = self._workers.get(ended.si_pid)
            if worker is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(worker.pid, signal.SIGKILL)
            _, status = os.waitpid(ended.si_pid, 0)
            if worker is not None:
                self._finish(worker, os.waitstatus_to_exitcode(status))

    def _finish(self, worker: Worker, code: int | None) -> None:
        del self._workers[worker.pid]
        seconds = time.monotonic() - worker.started
        for fd in (worker.answer, worker.output):
            if fd in self._selector.get_map():
                self._pipe_to_the_end(worker, fd)
            os.close(fd)
        with contextlib.suppress(OSError):
            worker.scratch.chmod(0o700)
        shutil.rmtree(worker.scratch, ignore_errors=True)
        self._answer(worker.job, *_verdict(worker, code, self._limits), seconds)

    def _pipe_to_the_end(self, worker: Worker, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while fd == worker.answer and len(worker.answered) <= self._limits.answer:
                data = os.read(fd, 64 * 1024)
                if not data:
                    break
                worker.answered += data
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def _end_strays(self) -> None:
        """Without seccomp a validator may leave processes behind; they come to this one, their subreaper."""
        if self._protection.seccomp:
            return
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        with contextlib.suppress(OSError):
            for pid in map(int, children.read_text().split()):
                if pid not in self._workers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _answer(self, job: int, verdict: str, reason: str, seconds: float) -> None:
        self._send({"id": job, "verdict": verdict, "reason": one_line(reason), "seconds": round(seconds, 6)})

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):  # the node is gone: the next turn sees it
            self._control.send(json.dumps(message).encode())


def _verdict(worker: Worker, code: int | None, limits: Limits) -> tuple[str, str]:
    fault = worker.killed or _end(worker, code)
    if not fault and len(worker.answered) > limits.answer:
        fault = f"answered more than {limits.answer} bytes"
    if fault:
        return "error", fault
    try:
        answer = json.loads(worker.answered)
        verdict, reason = answer["verdict"], answer["reason"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return "error", "its answer cannot be read"
    if verdict not in VERDICTS or not isinstance(reason, str):
        return "error", "its answer is no verdict"
    return verdict, reason


def _end(worker: Worker, code: int | None) -> str:
    """How it ended, if that is no way to end."""
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and not worker.answered):
        return f"ended by {signal.Signals(-code).name}: too much processor time or memory"
    if code is None or code < 0:
        return f"crashed (signal {-(code or 0)})"
    return f"ended with code {code} and no answer" if code or not worker.answered else ""


def _written(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines():
            if line.startswith("wchar:"):
                return int(line.split()[1])
    except (OSError, ValueError):  # it has ended, or this kernel does not count
        pass
    return 0


def _entries(folder: Path, enough: int) -> int:
    count = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for count, _ in enumerate(entries, 1):
            if count > enough:
                break
    return count


def main() -> None:
    """The program: its socket is standard input."""
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    os.nice(NICENESS)
    with contextlib.suppress(
        OSError
    ):  # where sessions share the processor evenly, niceness is that of the session
        Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")
    with contextlib.suppress(OSError):  # if memory runs out it is not the node that goes
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    kernel.no_new_privileges()
    config = json.loads(control.recv(MAX_PACKET))
    Server(control, config).run()


if __name__ == "__main__":
    main()
