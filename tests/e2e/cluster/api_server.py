"""The API server alone: etcd and kube-apiserver on loopback, ready in about three seconds, without root.

For tests of what talks to the API and needs no node::

    with api_server(tmp_path) as kubeconfig:
        ...

Users, RBAC, admission, CRDs with CEL, server-side apply and watches are the real ones. Without controllers nothing
else happens: a StatefulSet gets no pods, a namespace is never done with its deletion, nothing is collected. With
``controllers=True`` the controller manager and the scheduler run too; `simulated` gives them nodes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster import flags, golang, simulated
from cluster.api_faults import PACKAGE, FaultyApi
from cluster.certificates import ADMINS, Authority
from cluster.commands import wait_for
from cluster.errors import ProgramEnded
from cluster.kubectl import Kubectl, ready
from cluster.ports import ReservedPorts, listens

#: Three seconds on a quiet machine; minutes on one where everybody compiles.
START_TIMEOUT = 180.0
#: An API server that is told to end closes its watches and goes within seconds.
STOP_TIMEOUT = 30.0
#: Sent to the programs when their parent is gone: no test leaves them behind, however it ends.
_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
LOOPBACK = "127.0.0.1"
SERVICES = "10.101.0.0/16"

ETCD, APISERVER, CONTROLLERS, SCHEDULER = "etcd", "apiserver", "controller-manager", "scheduler"
KWOK, PROXY = "kwok", "fault-proxy"


@contextlib.contextmanager
def api_server(directory: Path, *, controllers: bool = False) -> Iterator[Path]:
    """Run an API server while the block runs.

    Args:
        directory: where it keeps all; made, and left when it ends.
        controllers: whether the controller manager and the scheduler run too.

    Yields:
        the kubeconfig of an administrator.

    Raises:
        NotBuilt: the programs do not exist yet; nothing is compiled here.
        ProgramEnded: it did not start; with the end of its log.
    """
    with ApiServer(directory, controllers=controllers) as server:
        yield server.kubeconfig


class ApiServer:
    """An API server that tests can also stop and start again; a context manager.

    Attributes:
        kubeconfig: of an administrator, by certificate.
        token_kubeconfig: the same by a token, which a proxy in between passes on.
        kubectl: runs kubectl on it.
    """

    def __init__(self, directory: Path, *, controllers: bool = False) -> None:
        """Prepare certificates and files; see `api_server`."""
        self._binaries = golang.programs(
            (*golang.API_PROGRAMS, *(golang.CONTROLLER_PROGRAMS if controllers else ()))
        )
        self._directory = directory.absolute()
        self._controllers = controllers
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = ReservedPorts(6)
        self.authority = Authority(self._directory / "pki")
        self.control = self._control()
        self._admin = self.authority.issue("admin", "admin", group=ADMINS)
        self._token = secrets.token_hex()
        self.kubeconfig = self._write("kubeconfig", self.authority.kubeconfig(self.control.url, self._admin))
        self.token_kubeconfig = self._write(
            "token.kubeconfig", self.authority.token_kubeconfig(self.control.url, self._token)
        )
        self.kubectl = Kubectl(self.kubeconfig, self._binaries / "kubectl")

    def __enter__(self) -> Self:
        """Start everything; returns when the API server is ready."""
        try:
            self._start(ETCD, flags.etcd(self.control))
            self.start()
            if self._controllers:
                self._start_controllers()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End everything at once: what it held is not wanted any more."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        self._ports.release()

    def start(self) -> None:
        """Start the API server on what etcd holds; returns when it is ready."""
        self._start(APISERVER, [*flags.apiserver(self.control), *self._alone()])
        wait_for(self._ready, "the API server is ready", START_TIMEOUT)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the API server alone; what it knows stays in etcd."""
        process = self._processes.pop(APISERVER)
        process.send_signal(number)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the API server and start it again, at the same address."""
        self.stop(number)
        self.start()

    def simulate_nodes(self, count: int, regions: Sequence[str]) -> None:
        """Add so many simulated nodes, spread over regions; needs the controllers. See `simulated`."""
        if KWOK not in self._processes:
            self._start(KWOK, simulated.kwok(Path("kwok"), self.kubeconfig, LOOPBACK))
        self.kubectl.apply(*simulated.nodes(count, regions))

    @contextlib.contextmanager
    def faulty(self) -> Iterator[tuple[Path, FaultyApi]]:
        """Run a proxy in front of it while the block runs.

        Yields:
            the kubeconfig of an administrator whose requests take that way, and what makes the faults.
        """
        port = self._ports.numbers[5]
        api = FaultyApi(
            self._directory / "proxy",
            host=LOOPBACK,
            port=port,
            upstream=self.control.url,
            authority=self.authority.certificate,
            serving=self.control.serving,
        )
        url = f"https://{LOOPBACK}:{port}"
        self._launch(PROXY, api.argv)
        try:
            wait_for(lambda: listens(LOOPBACK, port), "the proxy listens", START_TIMEOUT)
            yield self._write("proxy.kubeconfig", self.authority.token_kubeconfig(url, self._token)), api
        finally:
            proxy = self._processes.pop(PROXY)
            proxy.kill()
            proxy.wait()

    def check(self) -> None:
        """See that all programs still run.

        Raises:
            ProgramEnded: one did not; with the end of its log.
        """
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise ProgramEnded(f"{name} ended with {process.returncode}: {self._end_of_log(name)}")

    def _control(self) -> flags.Control:
        port, etcd_port, etcd_peer_port = self._ports.numbers[:3]
        hosts = ["localhost", LOOPBACK, "kubernetes.default.svc"]
        return flags.Control(
            address=LOOPBACK,
            port=port,
            etcd_port=etcd_port,
            etcd_peer_port=etcd_peer_port,
            services=SERVICES,
            data=self._directory / "etcd",
            serving=self.authority.issue("apiserver", "kube-apiserver", hosts=hosts),
            authority=self.authority.pair,
            accounts=self.authority.service_account_key(),
        )

    def _alone(self) -> list[str]:
        tokens = self._write("tokens.csv", f'{self._token},admin,admin,"{ADMINS}"\n')
        # There is no Service "kubernetes" to point at an address that only this machine knows.
        return [
            f"--token-auth-file={tokens}",
            f"--advertise-address={LOOPBACK}",
            "--endpoint-reconciler-type=none",
        ]

    def _start_controllers(self) -> None:
        controllers_port, scheduler_port = self._ports.numbers[3:5]
        kubeconfigs = {
            name: self._write(
                f"{name}.kubeconfig",
                self.authority.kubeconfig(self.control.url, self.authority.issue(name, f"system:{name}")),
            )
            for name in ("kube-controller-manager", "kube-scheduler")
        }
        self._start(
            CONTROLLERS,
            flags.controller_manager(self.control, kubeconfigs["kube-controller-manager"], controllers_port),
        )
        self._start(SCHEDULER, flags.scheduler(kubeconfigs["kube-scheduler"], scheduler_port))

    def _start(self, name: str, argv: Sequence[str]) -> None:
        program, *arguments = argv
        self._launch(name, [str(self._binaries / program), *arguments])

    def _launch(self, name: str, argv: Sequence[str]) -> None:
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*_WITH_PARENT, *argv],
                env={**os.environ, "PYTHONPATH": str(PACKAGE)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, which then ends them in order
            )

    def _ready(self) -> bool:
        self.check()
        return ready(self.control.url, self.authority.certificate, self._admin)

    def _write(self, name: str, text: str) -> Path:
        path = self._directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _end_of_log(self, name: str) -> str:
        return (self._directory / f"{name}.log").read_text(errors="replace")[-2000:]
