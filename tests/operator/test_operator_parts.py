"""The parts of the local backend, each alone, and the command line."""

import asyncio
import errno
import itertools
import json
import re
import socket
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from operator_cluster import manifest

from peersdb_operator import __main__ as cli
from peersdb_operator import cluster
from peersdb_operator.errors import Busy, NoCluster, NodeCommandError, PortError, StateError, UsageError
from peersdb_operator.local import commands, launch, logfile, node, ports, probe, state
from peersdb_operator.local.process import ProcessId

# Waiting before a restart.


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_wait_has_an_end_and_is_never_nothing(failures, random_part):
    wait = node.backoff(failures, random_part)
    assert 0 < wait <= node.BACKOFF_MOST_SECONDS


@given(st.integers(1, 100))
def test_waits_grow_and_jitter_only_shortens_them(failures):
    assert node.backoff(failures, 0) <= node.backoff(failures + 1, 0)
    assert node.backoff(failures, 0) * (1 - node.BACKOFF_JITTER) == pytest.approx(node.backoff(failures, 1))


# Ports.


@given(st.sets(st.integers(8080, 8100)), st.sets(st.integers(8080, 8100)))
def test_a_port_is_the_first_that_nobody_has(taken, occupied):
    chosen = ports.choose(8080, taken, lambda port: port not in occupied)
    assert chosen not in taken | occupied
    assert set(range(8080, chosen)) <= taken | occupied


def test_no_port_left_is_said():
    with pytest.raises(PortError, match=r"no free port from 65534 to 65535: set spec\.network"):
        ports.choose(65534, {65535}, lambda _port: False)


def test_a_port_that_is_listened_on_is_not_free_and_is_again_afterwards():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)


# Logs.


def test_the_tail_is_the_last_lines_of_a_large_log(tmp_path):
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert logfile.tail(log, 2) == ["line 99998", "line 99999"]
    assert logfile.tail(tmp_path / "none", 2) == []


def test_the_last_line_is_the_last_that_says_something(tmp_path):
    log = tmp_path / "log"
    log.write_text("one\n  two  \n\n \n")
    assert logfile.last_line(log) == "two"
    assert logfile.last_line(log, 1) == "t"


def test_a_log_is_set_aside_when_it_is_too_large_and_its_writer_goes_on(tmp_path):
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * logfile.MAX_BYTES)
        assert not logfile.trim(log)
        writer.write(b"y")
        assert logfile.trim(log)
        writer.write(b"z")
    assert log.read_bytes() == b"z"
    assert (tmp_path / "log.1").stat().st_size == logfile.MAX_BYTES + 1


def test_following_gives_what_is_added_also_after_the_log_was_emptied(tmp_path):
    log = tmp_path / "log"
    log.write_text("old\n")
    steps = iter(
        [lambda: log.write_text("old\nnew\n"), lambda: log.write_text(""), lambda: log.write_text("more\n")]
    )
    following = logfile.follow(log, lambda _seconds: next(steps)())
    assert "".join(itertools.islice(following, 2)) == "new\nmore\n"


# The directory.


def test_what_is_written_is_read_back(tmp_path):
    directory = state.StateDir(tmp_path)
    desired = state.Desired(3, 7, manifest(), {"eu": 2}, ("node", "-x"), None)
    record = state.Record(8080, 4001, ProcessId(7, "start"), ("a", "b"), 2, known=True)
    memory = state.Memory("/orbitdb/x", (8080, 4001), {"eu-0": record, "eu-1": state.Record(1, 2)})
    directory.write_desired(desired)
    directory.write_memory(memory)
    assert directory.desired() == desired
    assert directory.memory() == memory
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


def test_a_directory_without_a_cluster_says_how_to_start_one(tmp_path):
    with pytest.raises(NoCluster, match="start one with `peersdb-operator local up -f FILE`"):
        state.StateDir(tmp_path).desired()
    assert state.StateDir(tmp_path).memory() == state.Memory()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"members": 1}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(StateError, match=r"cluster\.json is damaged"):
        state.StateDir(tmp_path).desired()


def test_a_lock_is_held_by_one_and_ends_with_its_holder(tmp_path):
    directory = state.StateDir(tmp_path)
    with directory.lock_commands(), pytest.raises(Busy), directory.lock_commands():
        pass
    with directory.lock_commands():
        pass


def test_a_full_disk_is_said_plainly(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    assert str(state._state_error(tmp_path, full)).startswith("no space left on the disk of")


def test_a_directory_is_private_for_it_holds_keys(tmp_path):
    directory = state.StateDir(tmp_path / "a" / "b")
    directory.create()
    assert directory.path.stat().st_mode & 0o077 == 0


@given(st.dictionaries(st.sampled_from(["eu", "us"]), st.integers(0, 9)))
def test_scaling_changes_the_numbers_asked_for_and_nothing_else(wanted):
    before = manifest({"eu": 1, "us": 2})
    after = cluster.from_object(state.scaled(before, wanted))
    assert {region.name: region.replicas for region in after.regions} == {"eu": 1, "us": 2, **wanted}
    assert before == manifest({"eu": 1, "us": 2})


# Asking a node.


def serve(answer):
    """Ask a server that gives these bytes to everyone; give what the probe made of it."""

    async def run():
        async def handle(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        async with server:
            return await probe.ask("127.0.0.1", server.sockets[0].getsockname()[1])

    return asyncio.run(run())


def http(code, value):
    return f"HTTP/1.0 {code} X\r\nContent-Type: application/json\r\n\r\n{json.dumps(value)}".encode()


def test_a_node_that_is_ready_says_who_it_is():
    value = {"process": {"pid": 7}, "storeAddress": "/orbitdb/x", "entries": 3}
    assert serve(http(200, value)) == probe.Answer(
        ready=True, reason="", pid=7, store="/orbitdb/x", entries=3
    )


def test_a_node_that_is_not_ready_says_why():
    answer = serve(http(503, {"reason": "hears nobody", "storeAddress": None}))
    assert (answer.ready, answer.reason, answer.store) == (False, "hears nobody", None)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 100, b"HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n[]", b"HTTP/1.0 200 OK\r\n\r\n{"],
)
def test_what_is_no_answer_is_not_ready(data):
    answer = serve(data)
    assert not answer.ready
    assert answer.reason


def test_an_answer_without_end_is_cut_off():
    answer = serve(b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (probe.MAX_ANSWER + 1))
    assert "cannot be read" in answer.reason


def test_nobody_there_is_not_ready():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert asyncio.run(probe.ask("127.0.0.1", port)).reason == "does not listen yet"


# Finding things.


def test_a_node_program_is_found_or_named(monkeypatch):
    assert launch.node_command([]) == (sys.executable, "-P", "-m", "peersdb")
    assert launch.node_command(["sh", "-c"])[1:] == ("-c",)
    with pytest.raises(NodeCommandError, match="no program 'no-such'"):
        launch.node_command(["no-such"])


def test_the_only_cluster_needs_no_name_and_several_do(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(NoCluster):
        commands.find(None, None)
    for name in ("one", "two"):
        (tmp_path / "peersdb" / name).mkdir(parents=True)
        (tmp_path / "peersdb" / name / "cluster.json").touch()
        if name == "one":
            assert commands.find(None, None).path == tmp_path / "peersdb" / "one"
    with pytest.raises(UsageError, match=r"--cluster one\|two"):
        commands.find(None, None)
    assert commands.find(None, "two").path.name == "two"


def test_only_what_a_manifest_says_is_named_as_ignored():
    value = manifest()
    del value["spec"]["image"]
    assert commands.ignored_fields(value) == []
    value["spec"]["regions"][0]["tolerations"] = []
    value["spec"]["storage"] = {}
    assert commands.ignored_fields(value) == ["spec.storage", "tolerations"]


# The command line.


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)  # the test runner's own handlers stay

    def run(*arguments):
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_check_says_every_fault_with_file_line_and_path(run, tmp_path):
    value = manifest({"EU": 101})
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(value))
    code, _, err = run("check", "-f", str(path))
    assert code == 1
    assert f"{path}:13:5: spec.regions[0].name: 'EU' does not match" in err
    assert f"{path}:14:5: spec.regions[0].replicas: 101 is too large: at most 100" in err
    path.write_text(yaml.safe_dump(manifest()))
    assert run("check", "-f", str(path)) == (0, f"{path}: valid, demo has 2 regions, 3 nodes\n", "")


def test_check_judges_a_change(run, tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(yaml.safe_dump(manifest()))
    new.write_text(yaml.safe_dump(manifest(storage={"size": "1Gi"})))
    code, _, err = run("check", "-f", str(new), "--was", str(old))
    assert code == 1
    assert "spec.root: the root's storage size is immutable" in err


def test_build_writes_the_same_objects_in_both_formats(run, tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(manifest()))
    _, as_yaml, _ = run("build", "-f", str(path))
    _, as_json, _ = run("build", "-f", str(path), "-o", "json")
    assert list(yaml.safe_load_all(as_yaml)) == json.loads(as_json)["items"]
    assert "&id" not in as_yaml


def test_crd_prints_the_definition_that_check_reads(run):
    _, out, _ = run("crd")
    names = [found["metadata"]["name"] for found in yaml.safe_load_all(out)]
    assert names == ["peersdbclusters.peersdb.io", "peersdbbenchmarks.peersdb.io"]


def test_help_names_every_command_with_an_example(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for command in (
        "check",
        "build",
        "local up",
        "local status",
        "local scale",
        "local logs",
        "local down",
        "benchmark run",
    ):
        assert f"peersdb-operator {command}" in text


def test_every_command_and_flag_of_local_is_documented():
    import argparse
    from pathlib import Path

    def below(parser):
        return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices

    text = (Path(__file__).parents[2] / "docs" / "local.md").read_text()
    for name, parser in below(below(cli._parser())["local"]).items():
        assert f"`{name} " in text
        flags = [action.option_strings for action in parser._actions if action.option_strings]
        for names in flags:
            assert "-h" in names or any(re.search(rf"[ `\[]{flag}\b", text) for flag in names), names


def test_the_commands_load_neither_kopf_nor_the_kubernetes_client():
    import subprocess

    code = (
        "import sys, peersdb_operator.__main__, peersdb_operator.local.commands, peersdb_operator.builders,"
        " peersdb_operator.bench_cli.commands;"
    )
    code += "sys.exit(bool({'kopf', 'kubernetes', 'aiohttp', 'peersdb'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
