"""The cluster's network: every node has one line, to the control plane, which routes between them.

The control plane's own namespace is the router, so that all traffic between nodes passes its forward hook: that is
where faults and delays are made. This machine has one line to it and one route; there is no way on from there.
"""

from __future__ import annotations

import ipaddress
import json

from cluster.commands import run
from cluster.errors import Refused
from cluster.machine import Machine
from cluster.settings import Settings

UPLINK = "uplink"
"""The control plane's end of this machine's line."""

FORWARDING = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")


def check(settings: Settings) -> None:
    """See that the cluster's addresses are nobody's on this machine.

    Raises:
        Refused: there is a route to some of them.
    """
    ours = ipaddress.ip_network(settings.addresses.all)
    for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"])):
        if route["dst"] == "default" or route.get("dev") == settings.host_interface:
            continue
        if ipaddress.ip_network(route["dst"], strict=False).overlaps(ours):
            raise Refused(
                f"this machine has a route to {route['dst']}, which the cluster's addresses {ours} would hide"
            )


def guard(settings: Settings) -> str:
    """Write the rules that keep every packet of the cluster in it: pure.

    There is no route out either; the rules hold if somebody adds one, and they count.
    """
    inside = settings.addresses.all
    return f"""
table inet guard {{
  chain arriving {{
    type filter hook prerouting priority -310;
    iifname != "{UPLINK}" iifname != "lo" ip daddr != {inside} counter drop
    iifname != "{UPLINK}" iifname != "lo" meta nfproto ipv6 counter drop
  }}
  chain leaving {{
    type filter hook postrouting priority 310;
    oifname != "lo" ip daddr != {inside} counter drop
    oifname "{UPLINK}" ct state new counter drop
    oifname "{UPLINK}" ip daddr != {settings.addresses.machine} counter drop
  }}
}}
"""


def connect_control(settings: Settings, control: Machine) -> None:
    """Give the control plane its addresses, its line to this machine, and the guard."""
    addresses = settings.addresses
    control.in_network("sysctl", "-qw", *FORWARDING)
    control.in_network("nft", "-f", "-", stdin=guard(settings))
    host = settings.host_interface
    _ip(f"link add {host} type veth peer name {UPLINK} netns {control.pid}")
    _ip(f"address add {addresses.machine}/30 dev {host}", f"link set {host} up")
    _ip_in(
        control,
        "link set lo up",
        f"address add {addresses.api}/32 dev lo",
        f"address add {addresses.uplink}/30 dev {UPLINK}",
        f"link set {UPLINK} up",
    )
    _ip(f"route add {addresses.all} via {addresses.uplink} dev {host}")


def connect_node(settings: Settings, control: Machine, node: Machine, region: str) -> None:
    """Give a node its line, its address and its route."""
    addresses, index, line = settings.addresses, settings.index(region), settings.interface(region)
    # After a power cut the kernel may not yet have taken the old line away.
    if f'"{line}"' in control.in_network("ip", "-json", "link", "show"):
        _ip_in(control, f"link delete {line}")
    node.in_network("sysctl", "-qw", *FORWARDING)
    _ip_in(
        control,
        f"link add {line} type veth peer name eth0 netns {node.pid}",
        f"address add {addresses.gateway(index)}/24 dev {line}",
        f"link set {line} up",
        f"route add {addresses.node_pods(index)} via {addresses.node(index)} dev {line}",
    )
    _ip_in(
        node,
        "link set lo up",
        f"address add {addresses.node(index)}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {addresses.gateway(index)}",
    )


def disconnect_machine(settings: Settings) -> None:
    """Take this machine's line away, and its route and address with it."""
    if any(link["ifname"] == settings.host_interface for link in json.loads(run(["ip", "-json", "link"]))):
        _ip(f"link delete {settings.host_interface}")


def _ip(*commands: str) -> None:
    run(["ip", "-batch", "-"], stdin="\n".join(commands))


def _ip_in(machine: Machine, *commands: str) -> None:
    machine.in_network("ip", "-batch", "-", stdin="\n".join(commands))
