"""The local backend with real processes: stand-ins where a fault is asked for, the node itself at the end."""

import os
import shutil
import signal
import subprocess

import pytest
from operator_cluster import HTTP_PORT, SHARED_PORTS, manifest, until

pytestmark = pytest.mark.processes


def test_up_brings_all_members_up_and_says_where_they_are(shared):
    status = shared.status()
    assert status["status"]["phase"] == "Ready"
    assert status["status"]["readyReplicas"] == status["status"]["replicas"] == 3
    assert status["status"]["regions"] == [
        {"name": "eu", "replicas": 1, "readyReplicas": 1},
        {"name": "us", "replicas": 1, "readyReplicas": 1},
    ]
    for member in status["local"]["members"]:
        assert member["ready"]
        assert member["http"] in shared.printed


def test_the_first_member_has_the_manifests_ports(shared):
    assert shared.members()["root-0"]["http"] == f"http://127.0.0.1:{SHARED_PORTS['httpPort']}"
    assert shared.members()["root-0"]["p2p"] == f"/ip4/127.0.0.1/tcp/{SHARED_PORTS['libp2pPort']}"


def test_logs_shows_what_a_member_wrote(shared):
    assert "standin: starts as us-0\n" in shared.run("logs", "us-0").stdout
    assert "root-0 is ready" in shared.run("logs", "supervisor").stdout
    assert "one of eu-0, root-0, supervisor" in shared.run("logs", "mars-0", code=2).stderr.replace(
        ", us-0", ""
    )


@pytest.mark.parametrize(
    ("what", "says"), [("mars=1", "no region 'mars'"), ("eu=101", "at most 100"), ("eu", "eu=3")]
)
def test_scale_refuses_what_the_manifest_would_not_allow(shared, what, says):
    assert says in shared.run("scale", what, code=2).stderr


def test_up_twice_changes_nothing(shared):
    before = shared.pids(), shared.supervisor(), shared.status()["status"]
    shared.up(manifest(network=SHARED_PORTS))
    assert (shared.pids(), shared.supervisor(), shared.status()["status"]) == before


def test_a_killed_member_is_healed(shared):
    before = {name: member["restarts"] for name, member in shared.members().items()}
    victim = shared.pids()["eu-0"]
    os.kill(victim, signal.SIGKILL)
    healed = until(
        lambda: (m := shared.members()["eu-0"])["ready"] and m["pid"] != victim and m, "eu-0 is back"
    )
    assert healed["restarts"] == before["eu-0"] + 1
    assert {name: member["restarts"] for name, member in shared.members().items()} == {
        **before,
        "eu-0": before["eu-0"] + 1,
    }


def test_the_roots_region_may_not_change(shared):
    value = manifest(network=SHARED_PORTS)
    value["spec"]["root"]["region"] = "us"
    assert "spec.root.region: the root's region is immutable" in shared.up(value, code=1).stderr


def test_a_directory_serves_one_cluster(shared):
    assert (
        "is the directory of cluster 'demo'"
        in shared.up(manifest(name="other", network=SHARED_PORTS), code=2).stderr
    )


def test_nodes_outlive_a_killed_supervisor_and_the_next_one_adopts_them(shared):
    before = shared.pids()
    old = shared.supervisor()
    os.kill(old, signal.SIGKILL)
    until(lambda: not running(old), "the supervisor is gone")
    orphaned = shared.status()
    assert {m["name"]: m["state"] for m in orphaned["local"]["members"]} == dict.fromkeys(before, "Running")
    shared.up(manifest(network=SHARED_PORTS))
    assert shared.supervisor() != old
    assert shared.pids() == before


def test_a_node_that_was_not_written_down_is_adopted_too(shared):
    before = shared.pids()
    old = shared.supervisor()
    os.kill(old, signal.SIGKILL)
    until(lambda: not running(old), "the supervisor is gone")
    text = (shared.directory / "members.json").read_text()
    (shared.directory / "members.json").write_text(text.replace(f'"pid": {before["eu-0"]}', '"pid": null'))
    shared.up(manifest(network=SHARED_PORTS))
    assert shared.pids() == before


def test_a_taken_port_is_passed_over(local):
    import socket

    with socket.create_server(("127.0.0.1", HTTP_PORT)):
        local.up(manifest({}))
    assert local.members()["root-0"]["http"] == f"http://127.0.0.1:{HTTP_PORT + 1}"


def test_peers_start_after_the_roots_and_join_through_all_of_them(local):
    local.up(manifest({"eu": 1}, roots=2))
    log = (local.directory / "supervisor.log").read_text()
    assert log.index("root-0 is ready") < log.index("started root-1")
    assert log.index("root-1 is ready") < log.index("started eu-0")
    command = " ".join(psutil_cmdline(local.pids()["eu-0"]))
    assert f"-bootstrap 127.0.0.1:{HTTP_PORT},127.0.0.1:{HTTP_PORT + 1}" in command


def test_a_peer_comes_back_while_every_root_is_down(local):
    local.up(manifest({"eu": 1}))
    before = local.pids()
    local.faults(root_0="crash")
    os.kill(before["root-0"], signal.SIGKILL)
    os.kill(before["eu-0"], signal.SIGKILL)
    until(lambda: (m := local.members()["eu-0"])["ready"] and m["pid"] != before["eu-0"], "eu-0 is back")
    until(lambda: local.status()["status"]["phase"] == "Degraded", "the root is known to be down")
    conditions = {c["type"]: c for c in local.status()["status"]["conditions"]}
    assert conditions["RootAvailable"]["status"] == "False"
    assert "flux capacitor" in conditions["Ready"]["message"]


def test_a_root_with_an_emptied_disk_is_given_the_old_store(local):
    local.up(manifest({"eu": 1}))
    store = local.status()["status"]["storeAddress"]
    (local.directory / "members" / "root-0" / "repo" / "store").unlink()
    victim = local.pids()["root-0"]
    os.kill(victim, signal.SIGKILL)
    until(lambda: (m := local.members()["root-0"])["ready"] and m["pid"] != victim, "root-0 is back")
    assert (local.directory / "members" / "root-0" / "repo" / "store").read_text() == store
    command = " ".join(psutil_cmdline(local.pids()["root-0"]))
    assert command.endswith(f"-store {store} -bootstrap 127.0.0.1:{HTTP_PORT + 1}")


def test_all_nodes_are_adopted_where_they_listen_though_nothing_was_written_down(local):
    local.up(manifest({"eu": 1}))
    before = local.members()
    os.kill(local.supervisor(), signal.SIGKILL)
    until(lambda: not running(local.supervisor()), "the supervisor is gone")
    (local.directory / "members.json").unlink()
    local.up(manifest({"eu": 1}))
    assert {name: (m["pid"], m["http"]) for name, m in local.members().items()} == {
        name: (m["pid"], m["http"]) for name, m in before.items()
    }


def test_a_manifest_that_is_paused_from_the_first_starts_nothing(local):
    local.up(manifest({"eu": 1}, paused=True))
    assert local.members() == {}
    assert local.status()["status"]["phase"] == "Paused"


def test_an_id_that_was_used_again_is_not_taken_for_the_node(local):
    local.up(manifest({"eu": 1}))
    before = local.pids()
    old = local.supervisor()
    for pid in (old, before["eu-0"]):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not running(pid), "it is gone")
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        text = (local.directory / "members.json").read_text()
        (local.directory / "members.json").write_text(
            text.replace(f'"pid": {before["eu-0"]}', f'"pid": {stranger.pid}')
        )
        local.up(manifest({"eu": 1}))
        assert local.pids()["eu-0"] not in {stranger.pid, before["eu-0"]}
        local.run("down")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_edit_changes_only_what_differs(local):
    local.up(manifest({"eu": 1, "us": 1}))
    before = local.pids()
    local.up(manifest({"eu": 1, "us": 2, "asia": 1}))
    after = local.pids()
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"us-1", "asia-0"}
    local.up(manifest({"eu": 1, "us": 1}))
    assert local.pids() == before


def test_members_whose_command_line_changes_are_restarted(local):
    local.up(manifest())
    before = local.pids()
    local.up(manifest(benchmark={"enabled": True}))
    after = local.pids()
    assert all(after[name] != before[name] for name in before)
    assert all("-benchmark" in psutil_cmdline(pid) for pid in after.values())
    assert {m["restarts"] for m in local.members().values()} == {0}


def test_a_paused_manifest_is_not_carried_out_but_kept_running(local):
    local.up(manifest({"eu": 1}))
    before = local.pids()
    local.up(manifest({"eu": 3}, paused=True))
    assert local.pids() == before
    assert local.status()["status"]["phase"] == "Paused"
    os.kill(before["eu-0"], signal.SIGKILL)
    until(lambda: (m := local.members()["eu-0"])["ready"] and m["pid"] != before["eu-0"], "eu-0 is healed")
    local.up(manifest({"eu": 3}))
    assert len(local.pids()) == 4


def test_scale_lasts_until_the_next_up_and_keeps_the_data(local):
    local.up(manifest({"eu": 2}))
    kept = local.directory / "members" / "eu-1" / "repo" / "store"
    http = local.members()["eu-1"]["http"]
    local.run("scale", "eu=1")
    assert local.pids().keys() == {"root-0", "eu-0"}
    assert kept.exists()
    local.run("scale", "eu=3")
    assert local.pids().keys() == {"root-0", "eu-0", "eu-1", "eu-2"}
    assert local.members()["eu-1"]["http"] == http
    local.up(manifest({"eu": 2}))
    assert local.pids().keys() == {"root-0", "eu-0", "eu-1"}


def test_down_leaves_no_process_and_keeps_the_data(local):
    local.up(manifest())
    local.run("down")
    assert local.processes() == []
    assert (local.directory / "members" / "eu-0" / "repo" / "store").exists()
    assert local.status()["status"]["phase"] == "Down"
    local.run("down")
    local.run("down", "--delete-data")
    assert not local.directory.exists()


def test_down_ends_all_though_what_was_written_down_is_damaged(local):
    local.up(manifest({"eu": 1}))
    os.kill(local.supervisor(), signal.SIGKILL)
    (local.directory / "members.json").write_text("{")
    assert "members.json is damaged" in local.up(manifest({"eu": 1}), code=1).stderr
    local.run("down")
    assert local.processes() == []


def test_down_without_a_supervisor_ends_the_nodes_too(local):
    local.up(manifest())
    os.kill(local.supervisor(), signal.SIGKILL)
    local.run("down")
    assert local.processes() == []


def test_a_member_that_is_never_ready_is_named_with_its_reason(local):
    local.faults(us_0="deaf")
    failed = local.run(*local.up_arguments(manifest(), "--timeout", "3"), code=1)
    assert "not ready after 3 s" in failed.stderr
    assert "us-0: hears nobody" in failed.stderr
    assert "| standin: starts as us-0" in failed.stderr
    assert "eu-0:" not in failed.stderr.split("not ready after")[1]


def test_a_member_that_keeps_crashing_fails_up_early_with_its_log(local):
    local.faults(us_0="crash")
    failed = local.up(manifest(), code=1)
    assert "us-0 does not come up: ended with code 3" in failed.stderr
    assert "| standin: the flux capacitor is empty" in failed.stderr
    local.faults()
    local.up(manifest())  # the same command once more tries at once


def test_an_interrupted_first_up_leaves_nothing_behind(local):
    local.faults(us_0="deaf")
    command = subprocess.Popen(local.argv(*local.up_arguments(manifest())), stderr=subprocess.PIPE)
    until(lambda: local.members().get("us-0", {}).get("pid"), "us-0 was started")
    command.send_signal(signal.SIGINT)
    assert command.wait(20) == 130
    command.stderr.close()
    assert local.processes() == []


def test_an_interrupted_edit_is_taken_back(local):
    local.up(manifest({"eu": 1}))
    before = local.pids()
    local.faults(us_0="deaf")
    command = subprocess.Popen(local.argv(*local.up_arguments(manifest())), stderr=subprocess.PIPE)
    until(lambda: local.members().get("us-0", {}).get("pid"), "us-0 was started")
    command.send_signal(signal.SIGTERM)
    assert command.wait(20) == 130
    command.stderr.close()
    until(lambda: local.pids() == before, "all is as before")


def test_in_the_foreground_ctrl_c_ends_all(local):
    command = subprocess.Popen(
        local.argv(*local.up_arguments(manifest(), "--foreground")), stderr=subprocess.PIPE, text=True
    )
    for line in command.stderr:
        if "Ctrl-C" in line:
            break
    assert len(local.processes()) == 5  # with the supervisor and the command
    command.send_signal(signal.SIGINT)
    assert command.wait(20) == 0
    command.stderr.close()
    assert local.processes() == []


def test_a_second_command_is_told_to_wait(local):
    local.faults(us_0="deaf")
    first = subprocess.Popen(local.argv(*local.up_arguments(manifest())), stderr=subprocess.PIPE)
    until(lambda: local.members().get("us-0", {}).get("pid"), "the first is at work")
    assert "another command is at work" in local.run("down", code=1).stderr
    first.send_signal(signal.SIGINT)
    first.wait(20)
    first.stderr.close()


def test_a_directory_with_other_files_is_refused(local):
    local.directory.mkdir()
    (local.directory / "thesis.tex").touch()
    assert "holds other files (thesis.tex" in local.up(manifest({}), code=1).stderr


def test_a_missing_node_program_is_said(local):
    local.node_command = "no-such-program"
    assert "there is no program 'no-such-program'" in local.up(manifest({}), code=1).stderr


def test_a_place_that_cannot_be_written_is_said(local):
    local.directory.write_text("")
    failed = local.up(manifest({}), code=1).stderr
    assert str(local.directory) in failed
    assert "Traceback" not in failed


def test_too_many_members_for_one_machine_are_refused(local):
    assert "at most 100" in local.up(manifest({"eu": 100}), code=2).stderr


def test_a_member_whose_port_was_taken_while_it_was_down_moves_to_another(local):
    local.up(manifest({"eu": 1}))
    before = local.members()["eu-0"]
    os.kill(before["pid"], signal.SIGKILL)
    with until(lambda: listen(HTTP_PORT + 1), "the port is free and taken at once"):
        moved = until(
            lambda: (m := local.members()["eu-0"])["ready"] and m["http"] != before["http"] and m, "it moved"
        )
    assert moved["http"] == f"http://127.0.0.1:{HTTP_PORT + 2}"


def test_a_port_that_is_held_for_a_moment_after_an_end_stays_the_members(local):
    local.up(manifest({"eu": 1}))
    before = local.members()["eu-0"]
    os.kill(before["pid"], signal.SIGKILL)
    with until(lambda: listen(HTTP_PORT + 1), "the port is free and taken at once"):
        until(lambda: local.members()["eu-0"]["state"] == "BackOff", "its end is seen")
    back = until(
        lambda: (m := local.members()["eu-0"])["ready"] and m["pid"] != before["pid"] and m, "it is back"
    )
    assert (back["http"], back["p2p"]) == (before["http"], before["p2p"])


def test_a_cluster_whose_directory_is_deleted_ends(local):
    local.up(manifest({"eu": 1}))
    supervisor = local.supervisor()
    shutil.rmtree(local.directory)
    until(lambda: not running(supervisor) and not local.processes(), "all have ended")


def listen(port):
    import socket

    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


def psutil_cmdline(pid):
    import psutil

    return psutil.Process(pid).cmdline()


def running(pid):
    from peersdb_operator.local.process import identify

    found = identify(pid)
    return found is not None and found.alive()
