"""All names and labels of what a benchmark is made of."""

from __future__ import annotations

import hashlib

from peersdb_operator import names

LOAD_LABEL = "peersdb.io/load"
"""Of load pods and their Jobs: which part they play."""
MASTER, WORKER = "master", "worker"

LOAD_APP = "peersdb-loadtest"
"""The name label of load pods."""
NEWCOMER_APP = "peersdb-newcomer"
"""The name label of newcomers: not the members', so that the cluster's Services and budgets never select them."""
NEWCOMER_ROLE = "newcomer"
"""The role label of newcomers."""

#: A Job's name, a number and five random letters make a pod's name, which is a host's name of at most 63 characters.
MAX_JOB = 52
_DIGEST = 8


def control(benchmark: str) -> str:
    """Name the Secret of the control API's token."""
    return f"{benchmark}-control"


def targets(benchmark: str) -> str:
    """Name the ConfigMap of the members that are driven."""
    return f"{benchmark}-targets"


def master(benchmark: str) -> str:
    """Name the master's Job and its Service."""
    return f"{benchmark}-master"


def worker(benchmark: str, region: str) -> str:
    """Name the Job of a region's workers; a long one ends in a hash."""
    name = f"{benchmark}-worker-{region}"
    if len(name) <= MAX_JOB:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[: MAX_JOB - _DIGEST - 1].rstrip('-')}-{digest}"


def results(benchmark: str) -> str:
    """Name the ConfigMap of the results."""
    return f"{benchmark}-results"


def load_policy(benchmark: str) -> str:
    """Name the policy of who may reach the load pods."""
    return f"{benchmark}-load"


def members_policy(benchmark: str) -> str:
    """Name the policy that lets load pods and newcomers reach the cluster's members."""
    return f"{benchmark}-members"


def newcomers_policy(benchmark: str) -> str:
    """Name the policy of who may reach the newcomers."""
    return f"{benchmark}-newcomers"


def newcomers_group(region: str) -> str:
    """Name the group of a region's newcomers within its cluster."""
    return f"{region}-new"


def common_labels(benchmark: str) -> dict[str, str]:
    """Give the labels of everything of a benchmark."""
    return {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.BENCHMARK_LABEL: benchmark}


def load_labels(benchmark: str, part: str) -> dict[str, str]:
    """Give the labels of a load pod."""
    return {names.NAME_LABEL: LOAD_APP, **common_labels(benchmark), LOAD_LABEL: part}


def load_selector(benchmark: str) -> dict[str, str]:
    """Select all load pods of a benchmark."""
    return {names.NAME_LABEL: LOAD_APP, names.BENCHMARK_LABEL: benchmark}


def newcomers_selector(benchmark: str) -> dict[str, str]:
    """Select all newcomers of a benchmark."""
    return {names.NAME_LABEL: NEWCOMER_APP, names.BENCHMARK_LABEL: benchmark}
