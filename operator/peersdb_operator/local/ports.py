"""TCP ports for members: the manifest's if it is free, the next free ones otherwise."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection

from peersdb_operator.errors import PortError

LAST_PORT = 65535


def is_free(port: int) -> bool:
    """Tell whether a port can be listened on, by binding it on all addresses for a moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: ended connections do not count
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def choose(first: int, taken: Collection[int], free: Callable[[int], bool] = is_free) -> int:
    """Choose the first free port from ``first`` upwards.

    Args:
        first: the port to begin with.
        taken: ports that are other members', running or not.
        free: whether nobody on the machine listens on a port.

    Raises:
        PortError: there is none.
    """
    for port in range(first, LAST_PORT + 1):
        if port not in taken and free(port):
            return port
    raise PortError(
        f"no free port from {first} to {LAST_PORT}: set spec.network to a lower one, or end other programs"
    )
