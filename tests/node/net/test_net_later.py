"""What a node never uses of libp2p is not loaded at its start, and is itself once somebody calls it."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from peersdb.net.later import PARTS

BROUGHT = ("httpx", "requests", "urllib3", "zeroconf", "miniupnpc")

START = """
import json, sys
from peersdb.net.later import load_later
load_later()
import peersdb.api.run, peersdb.service.node
print(json.dumps(sorted(sys.modules)))
"""
CALL = """
from peersdb.net.later import load_later
load_later()
import peersdb.net.host
from libp2p.discovery.upnp.upnp import UpnpManager
from libp2p.host import basic_host
from libp2p.peer.id import ID
print(type(basic_host.UpnpManager()).__module__)
print(basic_host.compute_b36_peer_id(ID(b"x")))
try:
    basic_host.create_mdns_discovery()
except TypeError as error:
    print(error)
import libp2p.discovery.mdns
print(libp2p.discovery.mdns.PeerBroadcaster.__name__)
"""


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_a_start_loads_nothing_that_only_these_parts_need():
    loaded = {name.partition(".")[0] for name in json.loads(run(START))}
    assert not loaded & set(BROUGHT)
    assert {"libp2p", "trio"} <= loaded


def test_a_part_that_is_called_is_loaded_and_does_what_it_does():
    module, peer_id, mistake, other = run(CALL).splitlines()
    assert module == "libp2p.discovery.upnp.upnp"
    assert peer_id
    assert "missing 1 required positional argument: 'swarm'" in mistake
    assert other == "PeerBroadcaster"


@pytest.fixture(scope="module")
def host():
    """The library's source of its host."""
    found = importlib.util.find_spec("libp2p")
    return ast.parse((Path(found.origin).parent / "host" / "basic_host.py").read_text())


def test_the_host_calls_what_it_imports_of_them_and_does_nothing_else_with_it(host):
    imported = {
        node.module: tuple(name.name for name in node.names)
        for node in ast.walk(host)
        if isinstance(node, ast.ImportFrom) and node.module in PARTS
    }
    assert imported == PARTS
    members = {member for names in PARTS.values() for member in names}
    called = {id(node.func) for node in ast.walk(host) if isinstance(node, ast.Call)}
    annotations = [node.annotation for node in ast.walk(host) if isinstance(node, ast.AnnAssign)]
    told = {id(node) for annotation in annotations for node in ast.walk(annotation)}
    used = [node for node in ast.walk(host) if isinstance(node, ast.Name) and node.id in members]
    assert len(used) >= len(members) - 1
    assert all(id(node) in called | told for node in used)
