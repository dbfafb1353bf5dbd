"""How fast a real cluster is, in figures for the summary; what is asserted is that all arrives."""

import json
import time

import pytest

from e2e_peers import REGIONS, Peers, eventually, manifest

ENTRIES = 300
#: Posts files from within a pod, one every 50 ms: a region that is written in, not a flood.
POSTING = f"""
import base64, json, time, urllib.request
for number in range({ENTRIES}):
    began = time.monotonic()
    body = {{"method": {{"cmd": "post"}}, "file": base64.b64encode(b"entry %d" % number).decode()}}
    request = urllib.request.Request("http://127.0.0.1:8080/peersdb/command", json.dumps(body).encode())
    assert urllib.request.urlopen(request).status == 200
    time.sleep(max(0, 0.05 - (time.monotonic() - began)))
"""


@pytest.fixture(scope="module")
def sized(installed, peers_namespace):
    peers = Peers(installed, peers_namespace, "sized")
    began = time.monotonic()
    # Replication alone: judging what arrives takes most of two cores where seven members share them.
    regions = [{"name": region, "replicas": 2} for region in REGIONS]
    peers.apply(manifest("sized", regions=regions, validation={"enabled": False}))
    peers.wait("Ready", seconds=180)
    peers.seconds_to_ready = time.monotonic() - began
    yield peers
    peers.delete()


def test_three_regions_of_two_and_a_root_become_ready(sized, measured):
    assert len(sized.pods()) == 7
    measured("seconds from apply to Ready, 7 members", round(sized.seconds_to_ready, 1))


def test_an_entry_of_one_region_is_soon_readable_in_all(sized, measured):
    sized("exec", "-i", "sized-europe-west3-0", "--", "python3", "-", stdin=POSTING)
    others = [member for member in sized.members() if member != "europe-west3-0"]
    for member in others:
        eventually(lambda member=member: sized.node_status(member)["entries"] == ENTRIES, f"{member} has all")
    for member in others:
        found = json.loads(sized.client(member, "benchmark", "--json"))["percentilesc"]
        assert found["p99"] > 0
        shown = ", ".join(f"{name} {1000 * found[name]:.0f} ms" for name in ("p50", "p99"))
        measured(f"creation to readable, europe-west3-0 to {member}", shown)
