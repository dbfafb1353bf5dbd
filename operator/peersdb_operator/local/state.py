"""The directory of one local cluster: its files, their formats and locks.

cluster.json       what should be: manifest, scale, node command, generation     written by the commands
members.json       what was started: process, ports and template of each member    written by the supervisor
status.json        what is: the resource's status and the members                   written by the supervisor
supervisor.json    the supervisor's process;  supervisor.lock, supervisor.log
command.lock       held by the command at work
members/<name>/    repo, downloads/ and log of one member
benchmarks/<run>/  results of a benchmark: they outlive the members' data
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from peersdb_operator.cluster import Cluster, from_object
from peersdb_operator.errors import Busy, LocalError, NoCluster, StateError
from peersdb_operator.local.process import ProcessId

_FILES = (
    "cluster.json",
    "members.json",
    "status.json",
    "supervisor.json",
    "supervisor.lock",
    "supervisor.log",
    "supervisor.log.1",
    "command.lock",
)


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be.

    Attributes:
        generation: counts the changes, as ``metadata.generation`` does.
        revision: counts the commands: the supervisor tries at once what it had put off, changed or not.
        manifest: the manifest as given.
        scale: replicas by region that stand in for the manifest's until the next ``up``.
        node_command: the program of a node and what comes before its flags.
        applied: the manifest (scale included) that is carried out: the one before while the manifest is
            paused; None if none ever was.
    """

    generation: int
    revision: int
    manifest: Mapping[str, Any]
    scale: Mapping[str, int]
    node_command: tuple[str, ...]
    applied: Mapping[str, Any] | None

    def wanted(self) -> Cluster:
        """Give the cluster that the user asks for, scale included."""
        return from_object(scaled(self.manifest, self.scale))

    def to_json(self) -> dict[str, Any]:
        """Make the content of ``cluster.json``."""
        return {
            "generation": self.generation,
            "revision": self.revision,
            "manifest": self.manifest,
            "scale": dict(self.scale),
            "nodeCommand": list(self.node_command),
            "applied": self.applied,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the content of ``cluster.json``."""
        return cls(
            generation=value["generation"],
            revision=value["revision"],
            manifest=value["manifest"],
            scale=value["scale"],
            node_command=tuple(value["nodeCommand"]),
            applied=value["applied"],
        )


def scaled(manifest: Mapping[str, Any], scale: Mapping[str, int]) -> dict[str, Any]:
    """Give a manifest whose regions have other numbers of replicas."""
    spec = dict(manifest["spec"])
    spec["regions"] = [
        {**region, "replicas": scale[region["name"]]} if region["name"] in scale else region
        for region in spec["regions"]
    ]
    return {**manifest, "spec": spec}


@dataclass(slots=True)
class Record:
    """What the supervisor remembers of one member, across its own death.

    Attributes:
        http_port: TCP port of its HTTP API.
        p2p_port: TCP port of libp2p.
        process: its process, if one was started and not seen to end.
        template: what that process was started with, the store's address left out.
        restarts: how often it was started again after it ended by itself.
        known: whether it was ever ready: it has the log then and needs no root to come back.
    """

    http_port: int
    p2p_port: int
    process: ProcessId | None = None
    template: tuple[str, ...] = ()
    restarts: int = 0
    known: bool = False

    def to_json(self) -> dict[str, Any]:
        """Make its part of ``members.json``."""
        return {
            "http": self.http_port,
            "p2p": self.p2p_port,
            "pid": self.process.pid if self.process else None,
            "start": self.process.start if self.process else None,
            "template": list(self.template),
            "restarts": self.restarts,
            "known": self.known,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read its part of ``members.json``."""
        process = ProcessId(value["pid"], value["start"]) if value["pid"] else None
        template = tuple(value["template"])
        return cls(value["http"], value["p2p"], process, template, value["restarts"], value["known"])


@dataclass(slots=True)
class Memory:
    """All that the supervisor remembers.

    Attributes:
        store: the store's address, told by the first root that was ready; members started later are given it.
        ports: the manifest's ports that the members' were chosen from, HTTP and libp2p.
        members: by name; those scaled away are kept, with their ports.
    """

    store: str | None = None
    ports: tuple[int, int] | None = None
    members: dict[str, Record] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Make the content of ``members.json``."""
        members = {name: record.to_json() for name, record in self.members.items()}
        return {"store": self.store, "ports": self.ports, "members": members}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the content of ``members.json``."""
        members = {name: Record.from_json(record) for name, record in value["members"].items()}
        ports = value["ports"]
        return cls(value["store"], (ports[0], ports[1]) if ports else None, members)


@dataclass(frozen=True, slots=True)
class StateDir:
    """The directory of one cluster."""

    path: Path

    @property
    def supervisor_log(self) -> Path:
        """The supervisor's own log."""
        return self.path / "supervisor.log"

    def member_dir(self, name: str) -> Path:
        """Give the directory of one member."""
        return self.path / "members" / name

    def repo(self, name: str) -> Path:
        """Give a member's repo, what its ``-repo`` flag says."""
        return self.member_dir(name) / "repo"

    def log(self, name: str) -> Path:
        """Give the file of a member's output."""
        return self.member_dir(name) / "log"

    def create(self) -> None:
        """Make the directory, private to the user: it holds keys.

        Raises:
            StateError: it cannot be made or written, or is somebody else's.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            strangers = sorted(
                entry.name
                for entry in self.path.iterdir()
                if entry.name not in {*_FILES, "members", "benchmarks"}
            )
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise _state_error(self.path, error) from error
        if strangers and not (self.path / "cluster.json").exists():
            raise StateError(
                f"{self.path} holds other files ({strangers[0]}, ...): give --dir an empty directory"
            )

    def exists(self) -> bool:
        """Whether a cluster was ever started here."""
        return (self.path / "cluster.json").exists()

    def delete(self) -> None:
        """Delete all that belongs to the cluster, and the directory if nothing else is in it.

        Raises:
            StateError: something cannot be deleted.
        """
        try:
            if (self.path / "members").exists():
                shutil.rmtree(self.path / "members")
            for name in _FILES:
                (self.path / name).unlink(missing_ok=True)
            if not any(self.path.iterdir()):
                self.path.rmdir()
        except OSError as error:
            raise _state_error(self.path, error) from error

    def desired(self) -> Desired:
        """Read what should be.

        Raises:
            NoCluster: nothing was ever started here.
            StateError: the file is damaged.
        """
        value = self._read("cluster.json")
        if value is None:
            raise NoCluster(
                f"no cluster was started in {self.path}: start one with `peersdb-operator local up -f FILE`"
            )
        try:
            return Desired.from_json(value)
        except (KeyError, TypeError) as error:
            raise self._damaged("cluster.json") from error

    def memory(self) -> Memory:
        """Read what was started; nothing, if there is no such file.

        Raises:
            StateError: the file is damaged.
        """
        value = self._read("members.json")
        try:
            return Memory() if value is None else Memory.from_json(value)
        except (KeyError, TypeError) as error:
            raise self._damaged("members.json") from error

    def status(self) -> dict[str, Any] | None:
        """Read what the supervisor last saw, if it ever wrote it."""
        return self._read("status.json")

    def write_desired(self, desired: Desired) -> None:
        """Write what should be, durably."""
        self._write("cluster.json", desired.to_json())

    def write_memory(self, memory: Memory) -> None:
        """Write what was started, durably."""
        self._write("members.json", memory.to_json())

    def write_status(self, value: Mapping[str, Any]) -> None:
        """Write what is seen; made anew each time, so it is not forced to the disk."""
        self._write("status.json", value, durable=False)

    def remove_status(self) -> None:
        """Forget what was last seen."""
        (self.path / "status.json").unlink(missing_ok=True)

    def desired_stamp(self) -> tuple[int, int]:
        """Give what changes whenever ``cluster.json`` is written.

        Raises:
            StateError: it is not there.
        """
        try:
            found = (self.path / "cluster.json").stat()
        except OSError as error:
            raise _state_error(self.path, error) from error
        return found.st_mtime_ns, found.st_ino

    def write_supervisor(self, process: ProcessId) -> None:
        """Say who the supervisor is."""
        self._write("supervisor.json", {"pid": process.pid, "start": process.start})

    def supervisor(self) -> ProcessId | None:
        """Give the supervisor, if it runs."""
        value = self._read("supervisor.json")
        if value is None:
            return None
        process = ProcessId(value["pid"], value["start"])
        return process if process.alive() else None

    @contextmanager
    def lock_commands(self) -> Iterator[None]:
        """Keep other commands away.

        Raises:
            Busy: one is at work.
        """
        with self._lock(
            "command.lock", f"another command is at work on {self.path}: try again when it is done"
        ):
            yield

    @contextmanager
    def lock_supervisor(self) -> Iterator[None]:
        """Be the only supervisor.

        Raises:
            Busy: there is another.
        """
        with self._lock("supervisor.lock", f"{self.path} has a supervisor already"):
            yield

    @contextmanager
    def _lock(self, name: str, message: str) -> Iterator[None]:
        try:
            handle = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _state_error(self.path, error) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(message) from error
            yield
        finally:
            os.close(handle)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _state_error(self.path, error) from error
        except ValueError as error:
            raise self._damaged(name) from error
        if not isinstance(value, dict):
            raise self._damaged(name)
        return value

    def _damaged(self, name: str) -> LocalError:
        return StateError(
            f"{self.path / name} is damaged: end the cluster with `peersdb-operator local down`, delete that"
            " file and start it again; the members' data stays"
        )

    def _write(self, name: str, value: Mapping[str, Any], *, durable: bool = True) -> None:
        """Replace a file in one step, so that a reader sees the old or the new, never a half."""
        target = self.path / name
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(value, file, indent=1)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _state_error(self.path, error) from error


def _state_error(path: Path, error: OSError) -> StateError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StateError(
            f"no space left on the disk of {path}: free some, or give --dir a place on another disk"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return StateError(f"{path} cannot be written ({error.strerror}): give --dir a directory of your own")
    return StateError(f"{error.filename or path}: {error.strerror or error}")
