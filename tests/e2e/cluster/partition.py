"""Partitions: packets between nodes are dropped where the control plane's namespace routes them.

Rules name whole nodes, their own addresses and their pods'. What is dropped is counted, so that a test can see that
its fault happened.
"""

from __future__ import annotations

import json

from cluster.latency import DEVICE
from cluster.machine import Machine
from cluster.settings import Settings

_TABLE = "faults"
#: Before everything that might accept a packet; a packet that was delayed comes by twice and is judged once.
_CHAINS = f"""
table inet {_TABLE} {{
  chain between {{ type filter hook forward priority -200; iifname "{DEVICE}" accept; }}
  chain to_control {{ type filter hook input priority -200; }}
  chain from_control {{ type filter hook output priority -200; }}
}}
"""


class Partition:
    """The partitions of one cluster; they add up until they are healed."""

    def __init__(self, settings: Settings, control: Machine) -> None:
        """Name the cluster; nothing is changed yet."""
        self._settings = settings
        self._control = control

    def cut(self, one: str, other: str) -> None:
        """Let nothing pass between two regions; the control plane reaches both."""
        for source, target in ((one, other), (other, one)):
            self._drop("between", self._way(source, target), f"cut {one} {other}")

    def one_way(self, source: str, target: str) -> None:
        """Lose what one region sends to another; what comes back arrives."""
        self._drop("between", self._way(source, target), f"one way {source} {target}")

    def loss(self, one: str, other: str, percent: int) -> None:
        """Lose so many of a hundred packets between two regions, at random."""
        for source, target in ((one, other), (other, one)):
            match = f"{self._way(source, target)} numgen random mod 100 < {percent}"
            self._drop("between", match, f"loss {one} {other}")

    def isolate(self, region: str) -> None:
        """Let nothing pass to or from a region: neither the others nor the control plane."""
        line = self._settings.interface(region)
        for chain, side in (
            ("between", "iifname"),
            ("between", "oifname"),
            ("to_control", "iifname"),
            ("from_control", "oifname"),
        ):
            self._drop(chain, f'{side} "{line}"', f"isolate {region}")

    def heal(self) -> None:
        """End all partitions."""
        self._control.in_network(
            "nft", "-f", "-", stdin=f"add table inet {_TABLE}\ndelete table inet {_TABLE}\n"
        )

    def dropped(self) -> dict[str, int]:
        """Count the packets that each partition in force has dropped, by its name such as ``cut a b``."""
        listed = json.loads(self._control.in_network("nft", "--json", "list", "ruleset"))["nftables"]
        counts: dict[str, int] = {}
        for rule in (entry["rule"] for entry in listed if "rule" in entry):
            if rule["table"] == _TABLE and "comment" in rule:
                packets = sum(part["counter"]["packets"] for part in rule["expr"] if "counter" in part)
                counts[rule["comment"]] = counts.get(rule["comment"], 0) + packets
        return counts

    def _way(self, source: str, target: str) -> str:
        ranges = [
            ", ".join(self._settings.addresses.place(self._settings.index(region)))
            for region in (source, target)
        ]
        return f"ip saddr {{ {ranges[0]} }} ip daddr {{ {ranges[1]} }}"

    def _drop(self, chain: str, match: str, name: str) -> None:
        known = self._control.in_network("nft", "list", "tables")
        chains = "" if f"table inet {_TABLE}\n" in known else _CHAINS
        rule = f'add rule inet {_TABLE} {chain} {match} counter drop comment "{name}"\n'
        self._control.in_network("nft", "-f", "-", stdin=chains + rule)
