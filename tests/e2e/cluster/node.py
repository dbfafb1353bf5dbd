"""A node: a machine with containerd, a kubelet, a kube-proxy and the enforcement of NetworkPolicies."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster import cgroups, containerd, golang, network
from cluster.api_faults import PACKAGE
from cluster.control_plane import PROXY, ControlPlane
from cluster.machine import Machine
from cluster.settings import Settings

KUBELET, POLICIES = "kubelet", "network-policies"

#: Directories that need a file system of their own below them: containers' layers, volumes.
DISKS = ("/var/lib/kubelet", containerd.DISK, "/var/lib/local-path-provisioner")

POLICY_USER = "peersdb-e2e-network-policies"
"""The user that reads NetworkPolicies on every node; manifests/components.yaml says what it may."""


class Node:
    """The node of one region."""

    def __init__(self, settings: Settings, control: ControlPlane, region: str) -> None:
        """Name it; it runs or not as it did."""
        self.region = region
        self.name = settings.node_name(region)
        self.address = settings.addresses.node(settings.index(region))
        self.machine = Machine(self.name, settings.state / "nodes" / region)
        self.containerd = containerd.Containerd(self.machine)
        self._settings = settings
        self._control = control
        self._binaries = golang.programs(golang.ALL_PROGRAMS)

    def install(self, disk: Path) -> None:
        """Give it a copy of a disk with images, unless it has one of its own by now."""
        if not self.machine.disk(containerd.DISK).exists():
            containerd.copy(disk, self.machine.disk(containerd.DISK))

    def start(self, archives: Sequence[Path] = ()) -> None:
        """Start what does not run.

        Args:
            archives: of the images that it shall have.
        """
        if not self.machine.on:
            cgroups.create(self._settings.cgroup(self.region))
            self.machine.power_on(DISKS)
            network.connect_node(self._settings, self._control.machine, self.machine, self.region)
        self.containerd.networks.mkdir(exist_ok=True)
        (self.containerd.networks / "10-ptp.conflist").write_text(json.dumps(self._pod_network()))
        self.containerd.start()
        if archives:
            self.containerd.load(*archives)
        self.start_kubelet()
        proxy = self._control.proxy_configuration(self.name)
        self.machine.spawn(PROXY, self._control.proxy(self.machine, proxy))
        self._start_policies()

    def power_off(self) -> None:
        """Cut the power: all of its processes are gone at once, its disk stays."""
        self.machine.power_off()
        cgroups.remove(self._settings.cgroup(self.region))

    def start_kubelet(self) -> None:
        """Start the kubelet alone."""
        file = self.machine.directory / "kubelet.yaml"
        (self.machine.directory / "resolv.conf").touch()
        file.write_text(yaml.safe_dump(self._kubelet_configuration()))
        kubeconfig = self.machine.directory / "kubeconfig"
        pair = self._control.authority.issue(
            self.name,
            f"system:node:{self.name}",
            group="system:nodes",
            hosts=[self.name, self.address, "127.0.0.1"],
        )
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(self._control.authority.kubeconfig(self._control.url, pair))
        labels = {
            "topology.kubernetes.io/region": self.region,
            "topology.kubernetes.io/zone": f"{self.region}-a",
        }
        argv = [
            str(self._binaries / KUBELET),
            f"--config={file}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            f"--node-labels={','.join(f'{key}={value}' for key, value in labels.items())}",
            "--v=1",
        ]
        self.machine.spawn(KUBELET, argv)

    def stop_kubelet(self) -> None:
        """Stop the kubelet alone; containers go on."""
        self.machine.stop(KUBELET)

    def _start_policies(self) -> None:
        pair = self._control.authority.issue(POLICY_USER, POLICY_USER)
        argv = [sys.executable, "-m", "cluster.policy_agent", self._control.url]
        argv += [str(self._control.authority.certificate), str(pair.certificate), str(pair.key)]
        self.machine.spawn(POLICIES, argv, {"PYTHONPATH": str(PACKAGE)})

    def _pod_network(self) -> dict[str, Any]:
        """Route every pod on its own: no bridge, so that all its packets pass the node's forward hook."""
        pods = self._settings.addresses.node_pods(self._settings.index(self.region))
        addresses = {
            "type": "host-local",
            "ranges": [[{"subnet": pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "/run/pod-addresses",  # as pods, addresses do not outlive a power cut
        }
        plugins = [
            {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ]
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}

    def _kubelet_configuration(self) -> dict[str, Any]:
        pki = self._settings.pki
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self._control.authority.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki / f"{self.name}.crt"),
            "tlsPrivateKeyFile": str(pki / f"{self.name}.key"),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._settings.cgroup(self.region)}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDNS": [self._settings.addresses.dns],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self.machine.directory / "resolv.conf"),
            "nodeStatusUpdateFrequency": "2s",
            "nodeLeaseDurationSeconds": 8,
            # Images cannot be pulled again: none is collected, and a fuller disk than usual is fine.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "64Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
                "nodefs.inodesFree": "1%",
            },
            "serializeImagePulls": False,
            "maxPods": 110,
        }
