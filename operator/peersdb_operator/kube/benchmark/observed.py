"""What is seen of a run: its Jobs and pods. Pure over the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peersdb_operator import names
from peersdb_operator.kube.benchmark import naming
from peersdb_operator.kube.cache import Cache, Key
from peersdb_operator.kube.cache import reduced as cluster_reduced
from peersdb_operator.kube.desired import STUCK
from peersdb_operator.kube.kinds import JOB, POD, Kind, Object, controller_of, name_of

#: Of a container's last words: enough for a reason.
MAX_WORDS = 300

KINDS = (JOB, POD)


@dataclass(frozen=True, slots=True)
class Observed:
    """A run's Jobs and load pods.

    Attributes:
        jobs: by name.
        masters: pods of the master's Job.
        workers: pods of the workers' Jobs.
    """

    jobs: dict[str, Object]
    masters: tuple[Object, ...]
    workers: tuple[Object, ...]

    def master_address(self) -> str:
        """Give the address of the running master; empty where there is none."""
        running = [pod for pod in self.masters if pod["status"]["phase"] == "Running" and not leaving(pod)]
        return str(running[0]["status"]["podIP"]) if running else ""

    def failed_workers(self) -> list[str]:
        """Name the Jobs that count failed workers, whose pods may be gone by now."""
        return [
            f"{job['status']['failed']} of {name} failed"
            for name, job in self.jobs.items()
            if _part(job) == naming.WORKER and job["status"]["failed"]
        ]


def benchmark_of(obj: Object) -> Key:
    """Give the key of the benchmark that an object says it belongs to."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), (metadata.get("labels") or {}).get(names.BENCHMARK_LABEL, "")


def reduced(kind: Kind, obj: Object) -> Object:
    """Give what is read of an object: of a pod also how it ended."""
    if kind is JOB:
        metadata, status = obj["metadata"], obj.get("status", {})
        kept = (
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "labels",
            "ownerReferences",
            "deletionTimestamp",
        )
        return {
            "metadata": {name: metadata[name] for name in kept if name in metadata},
            "spec": {"suspend": obj.get("spec", {}).get("suspend", False)},
            "status": {
                "active": status.get("active", 0),
                "failed": status.get("failed", 0),
                "ended": _ended_job(obj),
            },
        }
    smaller = cluster_reduced(kind, obj)
    smaller["status"]["ended"] = _ended_pod(obj)
    return smaller


def observe(cache: Cache, key: Key, uid: str) -> Observed:
    """Read one run's part of the cache; what a deleted benchmark of the same name left is not its own."""
    jobs = {
        name_of(job): job
        for job in cache.of_cluster(JOB, key)
        if (controller_of(job) or {}).get("uid") == uid
    }
    uids = {job["metadata"]["uid"] for job in jobs.values()}
    pods = [pod for pod in cache.of_cluster(POD, key) if (controller_of(pod) or {}).get("uid") in uids]
    parts = {
        part: tuple(pod for pod in pods if _part(pod) == part) for part in (naming.MASTER, naming.WORKER)
    }
    return Observed(jobs, parts[naming.MASTER], parts[naming.WORKER])


def leaving(pod: Object) -> bool:
    """Tell whether a pod is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def lost(pods: Sequence[Object]) -> list[str]:
    """Name the pods that ended by a fault or were taken away, and how."""
    found = []
    for pod in pods:
        status = pod["status"]
        if leaving(pod) and status["phase"] != "Succeeded":
            found.append(f"{name_of(pod)} was deleted")
        elif status["phase"] == "Failed":
            found.append(f"{name_of(pod)} failed: {status['ended'] or 'its node is gone'}")
    return found


def held_up(pods: Sequence[Object]) -> list[str]:
    """Name the pods that cannot start, and why."""
    found = []
    for pod in pods:
        status = pod["status"]
        if status["unschedulable"]:
            found.append(f"{name_of(pod)} cannot be scheduled: {status['unschedulable']}")
        elif status["waiting"].get("reason", "") in STUCK:
            waiting = status["waiting"]
            found.append(f"{name_of(pod)}: {waiting['reason']}: {waiting.get('message', '')}")
    return found


def _part(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get(naming.LOAD_LABEL, ""))


def _ended_job(job: Object) -> str:
    """How a Job ended: ``Complete``, or why it failed; empty while it has not."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["status"] == "True" and condition["type"] == "Complete":
            return "Complete"
        if condition["status"] == "True" and condition["type"] == "Failed":
            return str(condition.get("reason") or "Failed")
    return ""


def _ended_pod(pod: Object) -> str:
    """How a pod's container ended, in words; empty while it has not."""
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        ended = container.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            words = " ".join(str(ended.get("message") or "").split())[-MAX_WORDS:]
            text = f"{ended.get('reason') or 'Error'} (exit code {ended['exitCode']})"
            return f"{text}: {words}" if words else text
    return str(status.get("reason") or "")
