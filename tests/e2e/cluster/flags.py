"""The command lines of the control plane's programs: pure, and the same for the API server alone and a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster.certificates import Pair

#: Seconds until pods leave a node that is not ready or not reachable; Kubernetes' own 300 would make tests long.
TOLERATION = 15
#: Seconds without a sign of life until a node counts as not ready; Kubernetes' own is 50.
GRACE = 12


@dataclass(frozen=True, kw_only=True)
class Control:
    """Where a control plane lives.

    Attributes:
        address: what the API server listens on.
        port: of the API server.
        etcd_port: of etcd, on loopback.
        etcd_peer_port: likewise, for members that never come.
        services: range of the addresses of Services.
        data: etcd's directory.
        serving: the API server's certificate.
        authority: the authority of clients and kubelets.
        accounts: the key of service accounts.
    """

    address: str
    port: int
    etcd_port: int
    etcd_peer_port: int
    services: str
    data: Path
    serving: Pair
    authority: Pair
    accounts: Pair

    @property
    def url(self) -> str:
        """The API server's address for clients."""
        return f"https://{self.address}:{self.port}"


def etcd(control: Control) -> list[str]:
    """Start a store of one member that never waits for the disk: a test cluster may be lost with the machine."""
    client, peer = (f"http://127.0.0.1:{port}" for port in (control.etcd_port, control.etcd_peer_port))
    return [
        "etcd",
        "--name=e2e",
        f"--data-dir={control.data}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=e2e={peer}",
        "--socket-reuse-port=true",
    ]


def apiserver(control: Control) -> list[str]:
    """Start the API server with RBAC, as an installer would."""
    return [
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{control.etcd_port}",
        f"--bind-address={control.address}",
        f"--secure-port={control.port}",
        "--permit-port-sharing=true",
        f"--service-cluster-ip-range={control.services}",
        f"--tls-cert-file={control.serving.certificate}",
        f"--tls-private-key-file={control.serving.key}",
        f"--client-ca-file={control.authority.certificate}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={control.accounts.certificate}",
        f"--service-account-signing-key-file={control.accounts.key}",
        f"--default-not-ready-toleration-seconds={TOLERATION}",
        f"--default-unreachable-toleration-seconds={TOLERATION}",
        "--v=1",
    ]


def apiserver_to_kubelets(client: Pair, front_proxy: Pair, authority: Pair) -> list[str]:
    """Further flags for a cluster with nodes: logs, exec and the aggregation of APIs."""
    return [
        f"--kubelet-client-certificate={client.certificate}",
        f"--kubelet-client-key={client.key}",
        f"--kubelet-certificate-authority={authority.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={authority.certificate}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={front_proxy.certificate}",
        f"--proxy-client-key-file={front_proxy.key}",
    ]


def controller_manager(control: Control, kubeconfig: Path, port: int = 10257) -> list[str]:
    """Start the controllers: StatefulSets, endpoints, garbage collection and so on."""
    return [
        "kube-controller-manager",
        *_client(kubeconfig, port),
        "--use-service-account-credentials=true",
        f"--root-ca-file={control.authority.certificate}",
        f"--service-account-private-key-file={control.accounts.key}",
        f"--cluster-signing-cert-file={control.authority.certificate}",
        f"--cluster-signing-key-file={control.authority.key}",
        "--node-monitor-period=1s",
        f"--node-monitor-grace-period={GRACE}s",
    ]


def scheduler(kubeconfig: Path, port: int = 10259) -> list[str]:
    """Start the scheduler."""
    return ["kube-scheduler", *_client(kubeconfig, port)]


def _client(kubeconfig: Path, port: int) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--permit-port-sharing=true",
        "--leader-elect=false",
        # Kubernetes' own 20 a second would make hundreds of simulated pods take half a minute.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--v=1",
    ]
