"""Which workers take part, and which were lost: a run goes on without them, and says so."""

import time
from typing import Any

from locust import runners

# A worker that says goodbye does so because all are ending, or because it alone was ended: the master's own end
# comes within this time in the first case.
GOODBYE_SECONDS = 3.0
# Seconds without a heartbeat, after which a worker is lost. Locust's own three also pass where a worker merely shares
# its processors with many nodes that start.
SILENCE = 10


class Workers:
    """The workers of a master."""

    def __init__(self, runner: Any) -> None:
        """Those that are there now take part."""
        self._runner = runner
        runners.HEARTBEAT_LIVENESS = SILENCE
        for client in runner.clients.all:
            client.heartbeat = max(client.heartbeat, SILENCE)
        self._known = {client.id for client in runner.clients.all if client.state != "missing"}
        self._begun: set[str] = set()
        self._goodbye: dict[str, float] = {}
        self._told: set[str] = set()
        self.ending = False
        """They were asked to end."""

    def add(self, client_id: str) -> None:
        """One has delivered something."""
        self._known.add(client_id)
        self._begun.add(client_id)

    def all_there(self) -> bool:
        """Whether all that are connected have delivered something in this run."""
        return self._present() <= self._begun

    def goodbye(self, client_id: str) -> None:
        """One has delivered all."""
        self._known.add(client_id)
        self._goodbye.setdefault(client_id, time.monotonic())

    def awaited(self) -> set[str]:
        """Those that are there and have not delivered all."""
        return {client for client in self._present() if client in self._known} - set(self._goodbye)

    def silent(self) -> list[str]:
        """Problems: those that took part and did not deliver all, when the run has ended."""
        missing = self._known - set(self._goodbye) - self._told
        names = ", ".join(sorted(_name(client) for client in missing))
        return [
            f"{len(missing)} of {len(self._known)} workers did not deliver their last samples: {names}"
        ] * bool(missing)

    def lost(self) -> list[str]:
        """Problems: those that are gone while the run goes on."""
        if self.ending:
            return []
        now = time.monotonic()
        gone = self._known - self._present()
        gone |= {client for client, at in self._goodbye.items() if now - at > GOODBYE_SECONDS}
        self._told |= gone
        return [
            f"the worker {_name(client)} was lost: its users and what it watched are missing"
            for client in sorted(gone)
        ]

    def _present(self) -> set[str]:
        return {client.id for client in self._runner.clients.all if client.state != "missing"}


def _name(client_id: str) -> str:
    """The host, and enough of the rest to tell two apart."""
    host, _, unique = client_id.rpartition("_")
    return f"{host} ({unique[:6]})"
