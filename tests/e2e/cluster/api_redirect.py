"""Faults of the API server for pods of a cluster: their connections to it are led to a proxy on the way.

Kubelets, controllers and this machine are not concerned.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence

from cluster.api_faults import PACKAGE, FaultyApi
from cluster.commands import wait_for
from cluster.control_plane import PORT, ControlPlane
from cluster.ports import listens
from cluster.settings import Settings

_SERVICE, _TABLE = "fault-proxy", "api-faults"
PROXY_PORT = 7443
START_TIMEOUT = 60.0


@contextlib.contextmanager
def redirected(settings: Settings, control: ControlPlane, pods: Sequence[str]) -> Iterator[FaultyApi]:
    """Lead pods' requests to the API server through a proxy while the block runs.

    Args:
        settings: of the cluster.
        control: its control plane.
        pods: addresses of the pods; without any, all pods are meant.
    """
    address = settings.addresses.api
    api = FaultyApi(
        control.machine.directory / "api-faults",
        host=address,
        port=PROXY_PORT,
        upstream=control.url,
        authority=control.authority.certificate,
        serving=control.serving,
    )
    control.machine.spawn(_SERVICE, api.argv, {"PYTHONPATH": str(PACKAGE)})
    try:
        wait_for(lambda: listens(address, PROXY_PORT), "the proxy listens", START_TIMEOUT)
        control.machine.in_network("nft", "-f", "-", stdin=_rules(settings, pods))
        yield api
    finally:
        control.machine.in_network(
            "nft", "-f", "-", stdin=f"add table ip {_TABLE}\ndelete table ip {_TABLE}\n"
        )
        control.machine.stop(_SERVICE, signal.SIGKILL)


def _rules(settings: Settings, pods: Sequence[str]) -> str:
    """Lead new connections aside; those of before, which come by unredirected, are reset."""
    whose = f"ip saddr {{ {', '.join(pods) or settings.addresses.pods} }} ip daddr {settings.addresses.api}"
    return f"""
table ip {_TABLE} {{
  chain arriving {{
    type nat hook prerouting priority -110;
    {whose} tcp dport {PORT} counter dnat to {settings.addresses.api}:{PROXY_PORT}
  }}
  chain established {{
    type filter hook input priority -10;
    {whose} tcp dport {PORT} counter reject with tcp reset
  }}
}}
"""
