"""The control plane: a machine with etcd, the API server, the controllers, the scheduler, and a kube-proxy so that this
machine and the API server reach Services too.
"""

from __future__ import annotations

import signal
from pathlib import Path

import yaml

from cluster import flags, golang, network
from cluster.certificates import ADMINS, Authority, Pair
from cluster.commands import wait_for
from cluster.errors import ProgramEnded
from cluster.kubectl import ready
from cluster.machine import Machine
from cluster.settings import Settings

ETCD, APISERVER, CONTROLLERS, SCHEDULER, PROXY = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
)
PORT = 6443
#: Three seconds on a quiet machine; minutes on one where everybody compiles.
START_TIMEOUT = 180.0
#: An API server that is told to end would wait a minute for those who watch; it is killed after so many seconds.
STOP_TIMEOUT = 5.0


class ControlPlane:
    """The control plane of one cluster."""

    def __init__(self, settings: Settings) -> None:
        """Find its programs and keys; it runs or not as it did."""
        self._settings = settings
        self._binaries = golang.programs(golang.ALL_PROGRAMS)
        self.machine = Machine("control", settings.state / "control")
        self.authority = Authority(settings.pki)
        self._admin = self.authority.issue("admin", "admin", group=ADMINS)
        addresses = settings.addresses
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        hosts = [*names, "kubernetes.default.svc.cluster.local", "127.0.0.1", addresses.api]
        self.serving = self.authority.issue(
            "apiserver", "kube-apiserver", hosts=[*hosts, addresses.kubernetes_service]
        )
        self.control = flags.Control(
            address=addresses.api,
            port=PORT,
            etcd_port=2379,
            etcd_peer_port=2380,
            services=addresses.services,
            data=self.machine.directory / "etcd",
            serving=self.serving,
            authority=self.authority.pair,
            accounts=self.authority.service_account_key(),
        )

    @property
    def url(self) -> str:
        """The API server's."""
        return self.control.url

    @property
    def ready(self) -> bool:
        """Whether the API server says so."""
        return ready(self.url, self.authority.certificate, self._admin)

    def start(self) -> None:
        """Start what does not run; returns when the API server is ready and the rest was started."""
        self.machine.power_on()
        network.connect_control(self._settings, self.machine)
        self._write(self._settings.kubeconfig, self._admin)
        self._spawn(flags.etcd(self.control))
        self.start_apiserver()
        for program, argv in (
            (CONTROLLERS, flags.controller_manager(self.control, self.client(CONTROLLERS))),
            (SCHEDULER, flags.scheduler(self.client(SCHEDULER))),
        ):
            self.machine.spawn(program, [str(self._binaries / program), *argv[1:]])
        # A kube-proxy waits for the Node of its name; this one poses as the first, only to route.
        configuration = self.proxy_configuration(self._settings.node_name(self._settings.regions[0]))
        self.machine.spawn(PROXY, self.proxy(self.machine, configuration))

    def start_apiserver(self) -> None:
        """Start the API server on what etcd holds; returns when it is ready."""
        to_kubelets = flags.apiserver_to_kubelets(
            self.authority.issue("kubelet-client", "kube-apiserver-kubelet-client", group=ADMINS),
            self.authority.issue("front-proxy-client", "front-proxy-client"),
            self.authority.pair,
        )
        advertised = f"--advertise-address={self._settings.addresses.api}"
        self._spawn([*flags.apiserver(self.control), advertised, *to_kubelets])
        wait_for(self._ready, "the API server is ready", START_TIMEOUT)

    def stop_apiserver(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the API server; all else goes on without it."""
        self.machine.stop(APISERVER, number, STOP_TIMEOUT)

    def client(self, name: str) -> Path:
        """Give the kubeconfig of a component, which Kubernetes knows as ``system:<name>``."""
        file = self._settings.pki / f"{name}.kubeconfig"
        self._write(file, self.authority.issue(name, f"system:{name}"))
        return file

    def proxy_configuration(self, node: str) -> dict[str, object]:
        """Give the configuration of a kube-proxy."""
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(self.client(PROXY))},
            "hostnameOverride": node,
            "clusterCIDR": self._settings.addresses.pods,
            "bindAddress": "0.0.0.0",
            "healthzBindAddress": "0.0.0.0:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            # In a network namespace these may not be set, and need not.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }

    def proxy(self, machine: Machine, configuration: dict[str, object]) -> list[str]:
        """Write a kube-proxy's configuration to a machine's disk, and give the command line."""
        file = machine.directory / "kube-proxy.yaml"
        text = yaml.safe_dump(configuration)
        if not file.exists() or file.read_text() != text:  # kube-proxy ends when its file is written
            file.write_text(text)
        return [str(self._binaries / PROXY), f"--config={file}", "--v=1"]

    def _spawn(self, argv: list[str]) -> None:
        program, *arguments = argv
        self.machine.spawn(program, [str(self._binaries / program), *arguments])

    def _ready(self) -> bool:
        for program in (ETCD, APISERVER):
            if not self.machine.runs(program):
                log = self.machine.log(program).read_text(errors="replace")
                raise ProgramEnded(f"{program} ended: {log[-1500:]}")
        return self.ready

    def _write(self, file: Path, pair: Pair) -> None:
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(self.authority.kubeconfig(self.url, pair))
