"""The local backend with the node itself: a cluster that shares a file and survives what kills its parts."""

import base64
import json
import os
import shutil
import signal
import sys
import urllib.request

import pytest
from operator_cluster import HTTP_PORT, P2P_PORT, Local, end, manifest, until

pytestmark = pytest.mark.processes

PORTS = {"httpPort": HTTP_PORT + 30, "libp2pPort": P2P_PORT + 30}
MANIFEST = manifest({"eu": 1, "us": 1}, network=PORTS)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Local(tmp_path_factory.mktemp("real"), node_command=f"{sys.executable} -m peersdb")
    try:
        started.up(MANIFEST, "--timeout", "40")
        yield started
    finally:
        end(started)


def command(cluster, member, cmd, *args, file=None):
    body = {"method": {"argcnt": len(args), "cmd": cmd}, "args": list(args)}
    if file is not None:
        body["file"] = base64.b64encode(file).decode()
    request = urllib.request.Request(  # noqa: S310 - the address is a member's
        f"{cluster.members()[member]['http']}/peersdb/command", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
        return json.load(answer)


def entries(cluster):
    return {name: member["entries"] for name, member in cluster.members().items()}


def test_a_file_posted_in_one_region_is_seen_in_all(cluster):
    before = entries(cluster)["root-0"]
    command(cluster, "eu-0", "post", file=b"shared")
    until(lambda: set(entries(cluster).values()) == {before + 1}, "every member has the entry")
    assert len({json.dumps(command(cluster, name, "query")) for name in entries(cluster)}) == 1


def test_a_killed_node_comes_back_with_what_it_had(cluster):
    command(cluster, "us-0", "post", file=b"before the end")
    had = len(command(cluster, "us-0", "query"))
    victim = cluster.pids()["us-0"]
    os.kill(victim, signal.SIGKILL)
    until(lambda: (m := cluster.members()["us-0"])["ready"] and m["pid"] != victim, "us-0 is back", 40)
    assert len(command(cluster, "us-0", "query")) == had


def test_a_root_with_an_emptied_disk_gets_the_old_log_back(cluster):
    store = cluster.status()["status"]["storeAddress"]
    command(cluster, "root-0", "post", file=b"kept by the others")
    count = len(command(cluster, "root-0", "query"))
    until(lambda: set(entries(cluster).values()) == {count}, "every member has the entry")
    victim = cluster.pids()["root-0"]
    shutil.rmtree(cluster.directory / "members" / "root-0" / "repo", ignore_errors=True)
    os.kill(victim, signal.SIGKILL)
    until(lambda: (m := cluster.members()["root-0"])["ready"] and m["pid"] != victim, "root-0 is back", 40)
    until(lambda: entries(cluster)["root-0"] == count, "it has the log again")
    assert cluster.status()["status"]["storeAddress"] == store


def test_the_supervisor_killed_nodes_go_on_serving_and_are_adopted(cluster):
    before = cluster.pids()
    os.kill(cluster.supervisor(), signal.SIGKILL)
    command(cluster, "eu-0", "post", file=b"nobody watches")
    cluster.up(MANIFEST)
    assert cluster.pids() == before


def test_a_newcomer_catches_up(cluster):
    cluster.run("scale", "us=2", "--timeout", "40")
    count = len(command(cluster, "root-0", "query"))
    until(lambda: entries(cluster)["us-1"] == count, "the newcomer has all")


def test_every_node_ends_by_itself_when_the_cluster_goes_down(cluster):
    assert "killed" not in cluster.run("down").stderr
    assert cluster.processes() == []
