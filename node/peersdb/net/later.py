"""Parts of libp2p that a node never uses, loaded only when somebody calls them.

The library's host imports them beside what it needs: peers found by mDNS and by UPnP, certificates from ACME. They
bring zeroconf, requests, urllib3, httpx and more: a fifth of the processor time of a start, and 15 MB of each node.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

#: Their modules, and what the host imports from each, all of which it calls and does nothing else with.
PARTS = {
    "libp2p.discovery.mdns.mdns": ("MDNSDiscovery", "create_mdns_discovery"),
    "libp2p.discovery.upnp.upnp": ("UpnpManager",),
    "libp2p.security.tls.autotls.acme": ("ACMEClient", "compute_b36_peer_id"),
    "libp2p.security.tls.autotls.broker": ("BrokerClient",),
}
#: A package that imports all of its modules, and so what they bring.
PACKAGE = "libp2p.discovery.mdns"


def load_later() -> None:
    """Puts something to call in the place of each part; before libp2p is imported, else it does nothing."""
    if "libp2p" in sys.modules:
        return
    for name, members in PARTS.items():
        module = sys.modules[name] = ModuleType(name)
        vars(module).update({member: _calling(name, member) for member in members})
    sys.modules[PACKAGE] = ModuleType(PACKAGE)


def _calling(name: str, member: str) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(_loaded(name), member)(*arguments, **named)

    return call


def _loaded(name: str) -> ModuleType:
    """The part itself."""
    for placed in (name, PACKAGE):
        if getattr(sys.modules.get(placed), "__spec__", None) is None:
            sys.modules.pop(placed, None)
    return importlib.import_module(name)
