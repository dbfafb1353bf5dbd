"""Collecting the nodes' own benchmarks, as the original's evaluation does at its end."""

from collections.abc import Sequence
from typing import Any

from loadtests.errors import NodeError
from loadtests.quiet import QuietClient
from loadtests.targets import Node

# The node that is asked asks all of its peers.
GATHER_SECONDS = 30.0


def gather(nodes: Sequence[Node], at: Node) -> list[dict[str, Any]]:
    """One benchmark per node: what ``GET /peersdb/benchmarks`` answers at one of them.

    A node asks the peers that it is connected to. Where these are not all (a large cluster is no full mesh),
    each node is asked for its own instead.

    Raises:
        NodeError: a node does not answer, or was started without ``-benchmark``.
    """
    with QuietClient(at, timeout=GATHER_SECONDS) as client:
        values = client.benchmarks()
    if len(values) == len(nodes):
        return values
    own = []
    for node in nodes:
        with QuietClient(node, timeout=GATHER_SECONDS) as client:
            own.append(client.benchmark())
    return own


def contributor(nodes: Sequence[Node]) -> Node:
    """The node that an evaluation posts on: the first that is no root, as in the original's.

    Raises:
        NodeError: there are no nodes.
    """
    if not nodes:
        raise NodeError("there is no node to post on")
    return next((node for node in nodes if not node.root), nodes[0])
