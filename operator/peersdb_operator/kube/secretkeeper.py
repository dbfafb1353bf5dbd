"""The Secrets that a cluster names: read, and made or renewed where the operator is to do that."""

from __future__ import annotations

from peersdb_operator.cluster import SecretRef
from peersdb_operator.errors import Conflict, NotFound
from peersdb_operator.kube import desired, drift, secrets
from peersdb_operator.kube.conditions import Trouble
from peersdb_operator.kube.kinds import SECRET, Object, controller_of
from peersdb_operator.kube.subject import Subject


class SecretKeeper:
    """Keeps the Secrets of one cluster."""

    def __init__(self, subject: Subject) -> None:
        """Works on ``subject``."""
        self._subject, self._tools, self._kube = subject, subject.tools, subject.tools.kube

    async def have(self, use: secrets.Use, reference: SecretRef | None) -> Object | None:
        """Read a Secret, and make or renew it where that is asked for."""
        if reference is None:
            return None
        namespace = self._subject.namespace
        try:
            live: Object | None = await self._kube.get(SECRET, namespace, reference.name)
        except NotFound:
            live = None
        if not reference.generate:
            if not secrets.text_of(live, use.key):
                message = (
                    f"no Secret {reference.name} with the key {use.key!r}: make it, or set generate: true"
                )
                self._subject.troubles.append(Trouble("SecretMissing", message))
            return live
        controller = controller_of(live) if live else None
        if live and controller and self._subject.is_old_self(controller):
            raise Conflict(f"Secret {reference.name} goes with a deleted cluster of the same name")
        annotations = self._subject.resource["metadata"].get("annotations") or {}
        wanted = secrets.wanted(use, reference.name, live, annotations, self._tools.environment.random)
        ours = live is None or secrets.made_here(use, live, self._subject.uid)
        if wanted is None and live is not None and ours:
            wanted = secrets.as_it_is(use, live)
        if wanted is None or self._subject.cluster.paused:
            return live
        if not ours:
            if secrets.text_of(live, use.key):
                message = (
                    f"Secret {reference.name} was not made by the operator: put the new value into it by hand"
                )
            else:
                message = f"Secret {reference.name} lacks the key {use.key!r}: add it, or name another Secret"
            self._subject.troubles.append(Trouble("SecretNotOurs", message))
            return live
        labelled = desired.owned(
            desired.labelled(wanted, self._subject.cluster), self._subject.cluster, self._subject.uid
        )
        if live is not None and drift.covers(live, labelled):
            return live
        made = live
        with self._subject.told(f"Secret {reference.name}"):
            made = await self._kube.apply(SECRET, labelled)
            if secrets.text_of(made, use.key) != secrets.text_of(live, use.key):
                verb = "Renewed" if live else "Made"
                await self._subject.event(
                    f"Secret{verb}", f"{verb.lower()} Secret {reference.name}", warning=False
                )
        return made
