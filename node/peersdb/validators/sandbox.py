"""The node's side of the sandbox: asks the fork server for judgements, and outlives whatever becomes of it."""

from __future__ import annotations

import array
import itertools
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog
import trio

from peersdb.errors import SandboxUnavailable
from peersdb.validators.api import Verdict, one_line
from peersdb.validators.forkserver import MAX_PACKET
from peersdb.validators.limits import Limits
from peersdb.validators.protection import describe
from peersdb.validators.readable import readable
from peersdb.validators.rules import Check

log = structlog.get_logger("sandbox")

COMMAND = (sys.executable, "-m", "peersdb.validators.forkserver")
#: Seconds that the fork server may take to start: importing large libraries from a cold disk.
START = 60.0
#: Seconds beyond a job's own wall time after which the fork server itself is given up.
GRACE = 20.0
#: Seconds without work after which the fork server ends, and its memory is free again.
IDLE = 120.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one check of one file.

    Attributes:
        verdict: ``valid``, ``invalid``, ``abstain``, or ``error`` when the validator failed.
        reason: one line, what and where.
        seconds: that the check took.
        validator: name and version.
        validator_hash: 32 bytes.
    """

    verdict: Verdict
    reason: str
    seconds: float
    validator: str
    validator_hash: bytes


@asynccontextmanager
async def open_sandbox(
    limits: Limits | None = None,
    *,
    scratch: Path,
    workers: int = 2,
    private: Sequence[Path] = (),
    preload: Sequence[str] = (),
) -> AsyncGenerator[Sandbox, None]:
    """A sandbox; nothing is started before the first judgement.

    Args:
        limits: of each judgement.
        scratch: a folder of its own; it is made, and emptied at the start and the end.
        workers: judgements at once.
        private: folders that no validator may read, wherever they lie: the node's repo.
        preload: modules that the fork server imports once, so that plug-ins find them there. They run outside the
            sandbox: name libraries that you trust, never plug-ins.
    """
    await trio.to_thread.run_sync(_empty, scratch)
    try:
        async with trio.open_nursery() as nursery:
            sandbox = Sandbox(
                nursery,
                limits=limits or Limits(),
                scratch=scratch,
                workers=workers,
                private=private,
                preload=preload,
            )
            try:
                yield sandbox
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:  # the sandbox's own tasks raise nothing: it is the caller's, as it was
            raise group.exceptions[0] from None
        raise
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(shutil.rmtree, scratch, True)


class Sandbox:
    """Runs checks, each in a process of its own."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        limits: Limits,
        scratch: Path,
        workers: int,
        private: Sequence[Path],
        preload: Sequence[str],
    ) -> None:
        self._limits, self._scratch, self._nursery = limits, scratch, nursery
        self._private, self._preload = private, preload
        self._limiter = trio.CapacityLimiter(workers)
        self._lock = trio.Lock()
        self._server: _Server | None = None
        self._ids = itertools.count(1)
        #: Which protections are on, and which are missing, each a line for people.
        self.protection = describe()

    @property
    def pid(self) -> int | None:
        """The fork server's process id while it runs."""
        return None if self._server is None or self._server.ended else self._server.pid

    async def run(self, check: Check, path: Path | str) -> Judgement:
        """Judges a file. Whatever the validator does becomes a verdict, nothing of it is raised.

        Args:
            check: of `Rules.for_file`.
            path: the file, whole and on this machine's disk.

        Raises:
            SandboxUnavailable: there is none to run it in, which says nothing of the file.
        """
        async with self._limiter:
            started = trio.current_time()
            try:
                file = await trio.to_thread.run_sync(_open, path)
            except OSError as error:
                return _judgement(check, "error", f"the file cannot be opened: {error.strerror}", 0.0)
            try:
                server = await self._running()
                answer = await server.judge(next(self._ids), check, file)
            except _Failed as failure:
                return _judgement(check, "error", str(failure), trio.current_time() - started)
            finally:
                os.close(file)
        return _judgement(check, answer["verdict"], answer["reason"], answer["seconds"])

    async def _running(self) -> _Server:
        async with self._lock:
            if self._server is None or self._server.ended:
                config = {
                    "limits": asdict(self._limits),
                    "scratch": str(self._scratch),
                    "read": await trio.to_thread.run_sync(readable, self._private),
                    "preload": list(self._preload),
                }
                self._server = await _start(config, self._limits.wall + GRACE)
                self.protection = self._server.protection
                missing = any(item.startswith("no ") and ":" in item for item in self.protection)
                (log.warning if missing else log.info)("the sandbox runs", protection=list(self.protection))
                self._nursery.start_soon(self._server.serve)
            return self._server


class _Failed(Exception):
    """The fork server failed at its work: as far as anybody knows, because of the validator; the text says how."""


@dataclass(slots=True)
class _Job:
    done: trio.Event
    answer: Mapping[str, Any] | None = None


class _Server:
    """A fork server that runs."""

    def __init__(self, process: trio.Process, ours: socket.socket, patience: float) -> None:
        self._process, self._socket, self._patience = process, ours, patience
        self._control = trio.socket.from_stdlib_socket(ours)
        self._jobs: dict[int, _Job] = {}
        self._sending = trio.Lock()
        self._last_used = trio.current_time()
        self.ended = False
        self.protection: tuple[str, ...] = ()
        self.pid = process.pid

    async def begin(self, config: Mapping[str, Any]) -> None:
        """Configures it and waits until it has imported what it needs.

        Raises:
            SandboxUnavailable: it did not start.
        """
        ready = b""
        try:
            with trio.fail_after(START):
                await self._control.send(json.dumps(config).encode())
                ready = await self._control.recv(MAX_PACKET)
        except (OSError, trio.TooSlowError) as error:
            raise SandboxUnavailable(f"the sandbox did not start: {error}") from error
        finally:
            if not ready:
                self._process.kill()
                await self._end()
        if not ready:
            raise SandboxUnavailable("the sandbox ended at its start: the node's log says why")
        self.protection = tuple(json.loads(ready)["protection"])

    async def judge(self, number: int, check: Check, file: int) -> Mapping[str, Any]:
        """Asks for a judgement and waits for it.

        Raises:
            _Failed: the fork server ended, or does not answer.
        """
        packet = json.dumps(
            {
                "id": number,
                "target": check.target,
                "builtin": check.builtin,
                "options": check.options,
                "name": check.file_name,
                "media_type": check.media_type,
            },
            ensure_ascii=False,
        ).encode()
        if len(packet) > MAX_PACKET:
            raise _Failed("the options and the file's name are too long together")
        job = self._jobs[number] = _Job(trio.Event())
        try:
            await self._send(packet, file)
            with trio.move_on_after(self._patience):
                await job.done.wait()
            if job.answer is None and not self.ended:
                self._process.kill()
                raise _Failed("the sandbox does not answer; it was ended")
        except (OSError, trio.ClosedResourceError) as error:
            raise _Failed(f"the sandbox has ended: {error}") from error
        except trio.Cancelled:
            with suppress(OSError):  # a full socket: the time limit ends the job then
                self._socket.send(json.dumps({"cancel": number}).encode())
            raise
        finally:
            self._jobs.pop(number, None)
            self._last_used = trio.current_time()
        if job.answer is None:
            raise _Failed(f"the sandbox ended while it worked (status {self._process.returncode})")
        return job.answer

    async def _send(self, packet: bytes, file: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
        async with self._sending:
            await self._control.sendmsg([packet], rights)

    async def serve(self) -> None:
        """Takes answers until the server ends, or has had nothing to do for `IDLE` seconds."""
        try:
            while True:
                with trio.move_on_after(IDLE):
                    data = await self._control.recv(MAX_PACKET)
                    if not data:
                        return
                    self._take(json.loads(data))
                    continue
                if not self._jobs and trio.current_time() > self._last_used + IDLE:
                    return
        except OSError:  # it ended with something unread
            return
        finally:
            await self._end()

    def _take(self, answer: Mapping[str, Any]) -> None:
        job = self._jobs.get(answer.get("id", 0))
        if job is not None:
            job.answer = answer
            job.done.set()

    async def _end(self) -> None:
        self.ended = True
        self._control.close()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(
                2.0
            ):  # it ends by itself when its socket closes, and its children with it
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
        if self._process.returncode:
            log.warning("the sandbox ended by itself", status=self._process.returncode)
        for job in self._jobs.values():
            job.done.set()


async def _start(config: Mapping[str, Any], patience: float) -> _Server:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        process = await trio.lowlevel.open_process(
            list(COMMAND),
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            # Nothing of the node's environment: tokens may be there. Threads would be of no use in one child.
            env={
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "LC_ALL": "C.UTF-8",
                "ARROW_DEFAULT_MEMORY_POOL": "system",
                "JE_ARROW_MALLOC_CONF": "background_thread:false",
                "ARROW_IO_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        raise SandboxUnavailable(f"the sandbox cannot start: {error.strerror}") from error
    finally:
        theirs.close()
    server = _Server(process, ours, patience)
    await server.begin(config)
    return server


def _open(path: Path | str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "it is no regular file", "it is no regular file")
    return fd


def _judgement(check: Check, verdict: Verdict, reason: str, seconds: float) -> Judgement:
    return Judgement(verdict, one_line(reason), seconds, check.name, check.hash)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
