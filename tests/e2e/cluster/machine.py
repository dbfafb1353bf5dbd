"""A machine of the cluster: network, mount, process, name and IPC namespaces of its own with a PID 1.

Killing that PID 1 is a power cut: every process of the machine dies at once, and what the kernel made for it (mounts,
interfaces, routes, rules) goes with it; its disk stays. Nothing of it is visible outside, and it cannot change the
machine it runs on: where Linux lets it see the outside's files it sees its own copies of what it writes.
"""

from __future__ import annotations

import shlex
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.commands import run, wait_for
from cluster.errors import NoCluster, ProgramEnded
from cluster.processes import Process, detached

#: A machine is on within a tenth of a second.
START_TIMEOUT = 20.0

#: Directories of which a machine has a copy on write: programs have fixed paths below them.
COPIED = ("/var/lib", "/var/log")

MARK = "PEERSDB_E2E_MACHINE"
"""The variable of every PID 1 that has its machine's directory: by it they are found without any file."""

#: Kernel-wide values that a kubelet insists on. It finds them in files of its own, and so changes none.
_KERNEL_VALUES = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}


def running(state: Path) -> list[Process]:
    """Find the PID 1 of every machine below a directory, whatever became of the directory."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = file.read_bytes().split(b"\0")
            marked = [
                value for name, _, value in (v.partition(b"=") for v in variables) if name == MARK.encode()
            ]
            inner = (file.parent / "status").read_text().partition("NSpid:")[2].split("\n")[0].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        process = Process.of(int(file.parent.name))
        if (
            marked
            and Path(marked[0].decode()).is_relative_to(state)
            and inner[-1] == "1"
            and len(inner) > 1
            and process
        ):
            found.append(process)
    return found


class Machine:
    """One machine, by the directory that is its disk."""

    def __init__(self, name: str, directory: Path) -> None:
        """Name it; it is off or on as it was."""
        self.name = name
        self.directory = directory
        self._init_file = directory / "power" / "init.json"
        self._services = directory / "power" / "services"

    @property
    def on(self) -> bool:
        """Whether it runs."""
        return Process.read(self._init_file) is not None

    @property
    def pid(self) -> int:
        """The id of its PID 1, as this machine knows it.

        Raises:
            NoCluster: it is off.
        """
        init = Process.read(self._init_file)
        if init is None:
            raise NoCluster(f"{self.name} is off")
        return init.pid

    def power_on(self, disks: Sequence[str] = ()) -> None:
        """Start it, with nothing in it but PID 1.

        Args:
            disks: directories of which it has its own, on its own disk: unlike those in `COPIED` they can carry
                file systems such as containers'.
        """
        if self.on:
            return
        self._forget_power()
        script = self.directory / "power" / "init.sh"
        script.parent.mkdir(parents=True)
        script.write_text(self._init_script(disks))
        namespaces = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--propagation", "slave"]
        detached(
            ["unshare", *namespaces, "sh", str(script)],
            self.directory / "log" / "init.log",
            env={MARK: str(self.directory)},
        )
        pid_file = script.parent / "init.pid"
        pid = wait_for(
            lambda: pid_file.exists() and int(pid_file.read_text()), f"{self.name} is on", START_TIMEOUT
        )
        init = Process.of(pid)
        if init is None:
            log = (self.directory / "log" / "init.log").read_text()
            raise ProgramEnded(f"{self.name} did not start: {log[-500:]}")
        init.write(self._init_file)

    def power_off(self) -> None:
        """Cut its power: returns when all of its processes are gone."""
        init = Process.read(self._init_file)
        if init is not None:
            init.end(signal.SIGKILL)
        self._forget_power()

    def run(self, *argv: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Run a program in it to its end, and give what it printed."""
        return run([*self._enter(), *argv], stdin=stdin, timeout=timeout)

    def in_network(self, *argv: str, stdin: str | None = None) -> str:
        """Run a program of this machine in its network, with this machine's files and process ids."""
        return run(["nsenter", "-t", str(self.pid), "-n", *argv], stdin=stdin)

    def spawn(self, service: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start a service in it; one that already runs is left alone."""
        if self.runs(service):
            return
        inner = detached(argv, self.log(service), inside=self._enter(), env={"TMPDIR": "/run", **(env or {})})
        process = wait_for(lambda: self._outside(inner), f"{service} on {self.name}", START_TIMEOUT)
        process.write(self._services / f"{service}.json")

    def runs(self, service: str) -> bool:
        """Whether a service runs."""
        return Process.read(self._services / f"{service}.json") is not None

    def stop(self, service: str, number: signal.Signals = signal.SIGTERM, patience: float = 8.0) -> None:
        """End one service, and wait until it is gone."""
        process = Process.read(self._services / f"{service}.json")
        if process is not None:
            process.end(number, patience)

    def log(self, service: str) -> Path:
        """Where a service's output goes."""
        return self.directory / "log" / f"{service}.log"

    def disk(self, place: str) -> Path:
        """Where this machine's own copy of a directory lies, of those that `power_on` is told."""
        return self.directory / "disk" / "own" / place[1:]

    def _enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i"]

    def _outside(self, inner: int) -> Process | None:
        """Find a process of this machine by the id that it has inside."""
        mine = Path(f"/proc/{self.pid}/ns/pid").readlink()
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                lines = dict(line.partition(":")[::2] for line in status.read_text().splitlines())
                if (
                    int(lines["NSpid"].split()[-1]) == inner
                    and (status.parent / "ns" / "pid").readlink() == mine
                ):
                    return Process.of(int(status.parent.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        raise ProgramEnded(f"a program on {self.name} ended at once: see {self.directory / 'log'}")

    def _forget_power(self) -> None:
        shutil.rmtree(self.directory / "power", ignore_errors=True)

    def _init_script(self, disks: Sequence[str]) -> str:
        """Write what PID 1 does: make the machine's files its own, say its id, then idle and collect orphans."""
        lines = [
            "set -e",
            # /proc is still the outside's, so this is the id by which the outside knows this process.
            "read -r pid rest </proc/self/stat",
            "mount -t proc proc /proc",
            f"hostname {shlex.quote(self.name)}",
            "mount -t tmpfs tmpfs /run",
        ]
        for target in COPIED:
            upper, work = (self.directory / "disk" / kind / target[1:] for kind in ("changed", "work"))
            lines += [
                f"mkdir -p {upper} {work}",
                f"mount -t overlay overlay -o lowerdir={target},upperdir={upper},workdir={work} {target}",
            ]
        for target in disks:
            own = self.disk(target)
            lines += [f"mkdir -p {own} {target}", f"mount --bind {own} {target}"]
        for name, value in _KERNEL_VALUES.items():
            file = self.directory / "disk" / "kernel" / name
            lines += [
                f"mkdir -p {file.parent}",
                f"echo {value} >{file}",
                f"mount --bind {file} /proc/sys/{name}",
            ]
        pid_file = self.directory / "power" / "init.pid"
        lines += [
            "mount --make-rshared /",
            f"echo $pid >{pid_file}.partial",
            f"mv {pid_file}.partial {pid_file}",
            "exec tini -- sleep infinity",
        ]
        return "\n".join(lines) + "\n"
