"""One idempotent reconcile of one cluster: read, decide, write what differs, say how it stands.

Any order of events and any crash between two writes ends in the same state, because nothing is remembered that the
API server does not have: what is kept in memory (the fingerprints of what was applied) only saves requests.
"""

from __future__ import annotations

from peersdb_operator import builders
from peersdb_operator import cluster as manifests
from peersdb_operator.errors import ManifestError
from peersdb_operator.kube import conditions, desired, secrets
from peersdb_operator.kube.applying import Applying
from peersdb_operator.kube.cache import Key
from peersdb_operator.kube.kinds import CLUSTER, Object
from peersdb_operator.kube.observed import observe, store_address
from peersdb_operator.kube.poller import Target
from peersdb_operator.kube.resource import living, write_status
from peersdb_operator.kube.secretkeeper import SecretKeeper
from peersdb_operator.kube.subject import Subject
from peersdb_operator.kube.telling import Telling
from peersdb_operator.kube.tools import Tools
from peersdb_operator.status import made as made_condition

#: A cluster is looked at again after so many seconds while something about it is not as it should be.
TROUBLE_RETRY = 30.0


class Reconciler:
    """Makes clusters what their manifests say."""

    def __init__(self, tools: Tools) -> None:
        """Works with ``tools``."""
        self._tools = tools

    async def reconcile(self, key: Key) -> None:
        """Bring one cluster nearer to what its manifest says.

        Raises:
            KubeError: the API server was in the way; try again later.
        """
        resource = await living(self._tools.kube, CLUSTER, key)
        if resource is None:
            self._tools.forget(key)
            return
        try:
            parsed = manifests.from_object(resource)
        except ManifestError as error:
            await self._refuse(resource, error)
            return
        tools = self._tools
        observed = observe(tools.cache, key, tools.poller.facts(key), nodes_visible=tools.nodes_visible())
        await _Pass(Subject(tools, key, resource, parsed, observed)).run()

    async def _refuse(self, resource: Object, error: ManifestError) -> None:
        """Says that a manifest means nothing to this operator; what runs goes on."""
        message = "; ".join(str(fault) for fault in error.faults[:3])
        before = resource.get("status") or {}
        kept = [c for c in before.get("conditions", []) if c["type"] != "Degraded"]
        degraded = made_condition(
            "Degraded",
            ("True", "InvalidSpec", message),
            generation=resource["metadata"]["generation"],
            previous=before,
            now=self._tools.environment.now(),
        )
        after = {**before, "phase": "Degraded", "conditions": [*kept, degraded]}
        if after != before:
            await write_status(self._tools.kube, CLUSTER, resource, after)
            await self._tools.events.post(resource, "InvalidSpec", message, warning=True)


class _Pass:
    """One reconcile: what it works on, step by step."""

    def __init__(self, subject: Subject) -> None:
        self._subject, self._tools = subject, subject.tools

    async def run(self) -> None:
        facts, tokens = await self._facts()
        plan = desired.plan(self._subject.cluster, self._subject.uid, self._subject.observed, facts)
        applying = Applying(self._subject)
        applying.look_at(plan)
        if not self._subject.cluster.paused:
            await applying.carry_out(plan, facts)
        status = conditions.make(
            self._subject.cluster,
            self._subject.observed,
            plan,
            facts,
            self._subject.troubles,
            generation=int(self._subject.resource["metadata"]["generation"]),
            previous=self._subject.status,
            now=self._tools.environment.now(),
        )
        await Telling(self._subject).tell(status)
        ready = status["readyReplicas"] == status["replicas"]
        eager = not ready or not facts.store_address
        self._tools.poller.watch(self._subject.key, Target(self._subject.cluster.http_port, tokens, eager))
        if self._subject.troubles:
            self._subject.again(TROUBLE_RETRY)
        if self._subject.failure is not None:
            raise self._subject.failure

    async def _facts(self) -> tuple[builders.Facts, tuple[str, ...]]:
        """What is known beside the manifest, and the tokens to ask pods with."""
        keeper = SecretKeeper(self._subject)
        token = await keeper.have(secrets.API_TOKEN, self._subject.cluster.api_token)
        key = await keeper.have(secrets.SWARM_KEY, self._subject.cluster.swarm_key)
        cut, left = self._tools.cut(self._subject.key)
        if cut:
            self._subject.again(left)  # it heals by itself
        facts = builders.Facts(
            store_address=store_address(self._subject.observed, self._subject.status.get("storeAddress", ""))
            or None,
            operator_namespace=self._tools.environment.namespace,
            swarm_key_hash=secrets.hash_of(secrets.text_of(key, secrets.SWARM_KEY.key)),
            cut=cut,
        )
        return facts, secrets.tokens(token)
