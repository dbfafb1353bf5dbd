"""Which members a cluster has, and how a node is told who it is: the same list for Kubernetes and for this
machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peersdb_operator import names
from peersdb_operator.cluster import Cluster, Group, Validation

#: What the node takes without being told.
DEFAULT_QUORUM = 50


@dataclass(frozen=True, slots=True)
class Member:
    """One node that there should be.

    Attributes:
        name: unique in the cluster (``root-0``, ``eu-1``).
        group: the root's group or a region.
        index: its number in the group, from 0.
    """

    name: str
    group: Group
    index: int

    @property
    def is_root(self) -> bool:
        """Whether newcomers bootstrap from it."""
        return self.group.is_root


def of_group(group: Group) -> tuple[Member, ...]:
    """List a group's members by number."""
    return tuple(Member(names.member(group, index), group, index) for index in range(group.replicas))


def of_cluster(cluster: Cluster) -> tuple[Member, ...]:
    """List all members, roots first."""
    return tuple(member for group in cluster.groups for member in of_group(group))


def node_arguments(
    cluster: Cluster,
    group: Group,
    *,
    host: str,
    http_port: int,
    libp2p_port: int,
    repo: str,
    downloads: str,
    bootstrap: Sequence[str],
    announce: str = "",
) -> tuple[str, ...]:
    """Give the node's arguments, but for the store's address, which is known only once a root runs.

    Args:
        cluster: the cluster it belongs to.
        group: the group it belongs to.
        host: the address that its HTTP API and libp2p listen on.
        http_port: TCP port of its HTTP API.
        libp2p_port: TCP port of libp2p.
        repo: the directory of all that it keeps.
        downloads: the directory of files it is asked to store, ending in a slash.
        bootstrap: host:port of the HTTP API of members to join through.
        announce: the multiaddr that others shall dial, where it is not the one listened on.
    """
    flags = ["-http", "-http-host", host, "-http-port", str(http_port)]
    flags += ["-ipfs-host", host, "-ipfs-port", str(libp2p_port)]
    flags += ["-repo", repo, "-download-dir", downloads, "-region", group.region, "-full-replica"]
    if announce:
        flags += ["-announce", announce]
    if group.is_root:
        flags.append("-root")
    if cluster.benchmark:
        flags.append("-benchmark")
    flags += _validation_flags(cluster.validation)
    if bootstrap:
        flags += ["-bootstrap", ",".join(bootstrap)]
    return tuple(flags)


def _validation_flags(validation: Validation) -> list[str]:
    """Only what differs from the node's defaults, which are the manifest's too."""
    flags = [] if validation.enabled else ["-validate=false"]
    if validation.quorum_percent != DEFAULT_QUORUM:
        flags += ["-quorum", str(validation.quorum_percent)]
    if validation.voters:
        flags += ["-voters", ",".join(f"{peer}={weight}" for peer, weight in validation.voters)]
    if validation.rules:
        flags += ["-validators", validation.rules]
    return flags
