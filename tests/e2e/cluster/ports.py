"""TCP ports on loopback that nobody else can take before a program listens on them."""

from __future__ import annotations

import socket


class ReservedPorts:
    """Ports held by sockets that are bound but do not listen.

    A program that sets SO_REUSEPORT (etcd and Kubernetes' do, when told) may listen on them beside; others may not,
    also while it is restarted.
    """

    def __init__(self, count: int) -> None:
        """Take free ports on 127.0.0.1."""
        self._sockets = [_bound() for _ in range(count)]
        self.numbers = [int(taken.getsockname()[1]) for taken in self._sockets]

    def release(self) -> None:
        """Give them back."""
        for taken in self._sockets:
            taken.close()


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _bound() -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    taken.bind(("127.0.0.1", 0))
    return taken
