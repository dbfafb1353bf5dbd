"""What there is on this machine that a cluster could leave behind, to compare before with after."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from cluster import machine
from cluster.commands import run
from cluster.settings import Settings

#: Directories where containers' programs keep what they keep.
DIRECTORIES = ("/etc/cni", "/etc/cni/net.d", "/opt", "/run", "/run/netns", "/var/lib", "/var/log")
#: Values that change by themselves: counters, what was measured, and those of single interfaces.
_RESTLESS = re.compile(
    r"fs\.|dev\.|kernel\.(random|ns_last_pid|pty\.nr|sched|perf|tainted)|net\.netfilter\.nf_conntrack_count|"
    r"net\.ipv[46]\.(conf|neigh)\.(?!all\.|default\.|lo\.)|net\.ipv4\.tcp_fastopen_key"
)


def traces(settings: Settings) -> dict[str, set[str]]:
    """List, by kind, what this machine has; of other clusters of the harness nothing is said.

    Args:
        settings: of the cluster in question.
    """
    others = re.compile(
        rf"\b(?!{settings.instance}-)[a-z][a-z0-9]{{0,7}}-host\b|peersdb-(?!{settings.instance}-)"
    )
    found = {
        "links": _lines("ip", "-brief", "link"),
        "addresses": _lines("ip", "-oneline", "address"),
        "routes": _lines("ip", "route", "show", "table", "all"),
        "routing rules": _lines("ip", "rule"),
        "packet filter": _lines("nft", "list", "ruleset"),
        "kernel values": {line for line in _lines("sysctl", "-a") if not _RESTLESS.match(line)},
        "mounts": set(Path("/proc/self/mounts").read_text().splitlines()),
        "cgroups": set(_cgroups()),
        "directories": {
            str(path) for place in DIRECTORIES if Path(place).is_dir() for path in Path(place).iterdir()
        },
        "processes": {str(process.pid) for process in machine.running(settings.state)},
        "state": {str(settings.state)} if settings.state.exists() else set(),
    }
    return {kind: {line for line in lines if not others.search(line)} for kind, lines in found.items()}


def _lines(*argv: str) -> set[str]:
    return {re.sub(r"(valid|preferred)_lft \w+|expires \w+", "", line) for line in run(argv).splitlines()}


def _cgroups() -> Iterable[str]:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place, kind = line.split()[1:3]
        if kind in {"cgroup", "cgroup2"}:
            yield from (str(path) for path in Path(place).iterdir() if path.is_dir())
