"""The harness's pure parts, and what it refuses: without root, without a cluster."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import cli, golang, network, prerequisites, simulated
from cluster.commands import run, wait_for
from cluster.errors import CommandFailed, NoCluster, NotReady, ProgramEnded, Refused
from cluster.ports import ReservedPorts
from cluster.processes import Process, detached
from cluster.settings import Addresses, Settings

HERE = Path(__file__).parent


@pytest.fixture
def settings(tmp_path):
    return Settings(state=tmp_path / "state")


class TestSettings:
    """A cluster is told all that it needs to know, or says what is wrong with it."""

    def test_the_regions_are_those_of_the_quickstart(self, settings):
        import yaml

        sample = yaml.safe_load((HERE.parents[1] / "deploy" / "samples" / "quickstart.yaml").read_text())
        assert set(settings.regions) == {region["name"] for region in sample["spec"]["regions"]}

    @pytest.mark.parametrize(
        ("regions", "words"),
        [
            (("a", "b"), "2 regions"),
            (tuple("abcdefg"), "7 regions"),
            (("a", "b", "a"), "not all different"),
            (("a", "b", "C"), "no DNS label"),
            (("a", "b", "c-"), "no DNS label"),
        ],
    )
    def test_regions_that_cannot_be_are_refused(self, settings, regions, words):
        with pytest.raises(Refused, match=words):
            replace(settings, regions=regions)

    @pytest.mark.parametrize("state", ["/var/lib/x", "/run/x", "/var/log", "/tmp/a b", "/tmp/a:b"])  # noqa: S108
    def test_a_state_that_a_node_could_not_use_is_refused(self, settings, state):
        with pytest.raises(Refused, match="PEERSDB_E2E_STATE"):
            replace(settings, state=Path(state))

    def test_the_environment_says_which_cluster(self, tmp_path):
        told = {
            "PEERSDB_E2E_REGIONS": "eu, us,asia",
            "PEERSDB_E2E_STATE": str(tmp_path),
            "PEERSDB_E2E_INSTANCE": "two",
            "PEERSDB_E2E_BLOCK": "104",
        }
        found = Settings.from_environment(told)
        assert found == Settings(
            state=tmp_path, regions=("eu", "us", "asia"), instance="two", addresses=Addresses(104)
        )
        with pytest.raises(Refused, match="PEERSDB_E2E_BLOCK"):
            Settings.from_environment({"PEERSDB_E2E_BLOCK": "105"})

    def test_they_are_kept_for_later_commands(self, settings):
        with pytest.raises(NoCluster, match="make cluster-up"):
            Settings.saved(settings.state)
        told = replace(settings, regions=("a", "b", "c", "d"), instance="other", addresses=Addresses(4))
        told.save()
        assert Settings.saved(settings.state) == told

    def test_two_instances_share_no_name_and_no_address(self, settings):
        other = replace(settings, instance="other", addresses=Addresses(104))
        for region in settings.regions:
            assert settings.interface(region) != other.interface(region)
            assert settings.cgroup(region) != other.cgroup(region)
            assert len(settings.interface(region)) <= 15
        assert settings.addresses.all != other.addresses.all

    def test_an_unknown_region_is_named_with_those_that_are_known(self, settings):
        with pytest.raises(NoCluster, match="europe-west3, us-central1"):
            settings.index("mars")


class TestConsent:
    """Nothing on this machine is changed without root and the user's word."""

    def test_without_the_word_it_says_what_it_would_change(self, monkeypatch, capsys):
        monkeypatch.delenv("PEERSDB_E2E", raising=False)
        assert cli.main(["up"]) == 1
        said = capsys.readouterr().err
        for what in ("PEERSDB_E2E=1", "10.100.0.0/14", "cgroup", "cluster-down", "kind"):
            assert what in said

    def test_the_word_alone_is_not_enough_for_others_than_root(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(Refused, match="not without root"):
            prerequisites.check({"PEERSDB_E2E": "1"})

    def test_with_a_cluster_given_tests_need_neither(self, monkeypatch, capsys):
        monkeypatch.delenv("PEERSDB_E2E", raising=False)
        monkeypatch.setenv("KUBECONFIG", "/some/where")
        assert cli.main(["may-test"]) == 0
        assert "/some/where" in capsys.readouterr().err

    def test_stopping_what_does_not_run_is_no_error(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setenv("PEERSDB_E2E_STATE", str(tmp_path / "state"))
        monkeypatch.setenv("PEERSDB_E2E_INSTANCE", "nobody")
        assert cli.main(["down"]) == 0
        assert "there was no cluster" in capsys.readouterr().err

    def test_why_not_is_said_in_one_line(self, monkeypatch, capsys):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert cli.main(["possible"]) == 1
        assert capsys.readouterr().err == "no cluster can be made on this machine: it needs root\n"

    def test_without_go_it_says_where_to_get_it(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(Refused, match=r"go\.dev"):
            golang.check()


def test_addresses_that_somebody_has_are_refused(settings):
    """Loopback is a route that every machine has."""
    with pytest.raises(Refused, match="route"):
        network.check(replace(settings, addresses=Loopback()))


class Loopback(Addresses):
    """The addresses that surely are taken."""

    all = "127.0.0.0/8"


def test_the_guard_lets_nothing_but_answers_out(settings):
    rules = network.guard(settings)
    assert 'oifname "uplink" ct state new counter drop' in rules
    assert 'iifname != "uplink" iifname != "lo" ip daddr != 10.100.0.0/14 counter drop' in rules


def test_a_module_that_uses_kubernetes_pins_its_staging_modules():
    own = """\
module k8s.io/kubernetes

go 1.24.0

require (
\tgithub.com/x/y v1.2.3
\tk8s.io/api v0.0.0
)

replace (
\tk8s.io/api => ./staging/src/k8s.io/api
)
"""
    assert (
        golang.kubernetes_requirements(own, "v1.34.4")
        == """\
module k8sbuild

go 1.24.0

require (
\tgithub.com/x/y v1.2.3
\tk8s.io/api v0.34.4
)


require k8s.io/kubernetes v1.34.4

replace (
\tk8s.io/api => k8s.io/api v0.34.4
)
"""
    )


def test_a_reserved_port_is_nobody_elses_until_it_is_released():
    reserved = ReservedPorts(2)
    taken, _ = reserved.numbers
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", taken))
    with socket.socket() as told:
        told.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        told.bind(("127.0.0.1", taken))
    reserved.release()
    with socket.socket() as other:
        other.bind(("127.0.0.1", taken))


class TestCommands:
    """A program's failure is told with its own words; a wait ends with the last reason."""

    def test_a_failure_has_the_end_of_what_was_said(self):
        with pytest.raises(CommandFailed, match="ended with 3: no way") as caught:
            run(["sh", "-c", "echo no way >&2; exit 3"])
        assert caught.value.status == 3

    def test_a_program_that_is_not_there_or_takes_too_long_fails_as_well(self):
        with pytest.raises(CommandFailed, match="is not installed"):
            run(["no-such-program"])
        with pytest.raises(CommandFailed, match="longer than"):
            run(["sleep", "60"], timeout=0.1)

    def test_a_wait_ends_when_it_is_over_or_too_long(self):
        looks = iter([False, "", "seen"])
        assert wait_for(lambda: next(looks), "it", 10) == "seen"

        def fail():
            raise NoCluster("none here")

        with pytest.raises(NotReady, match="it: not within 0 s; the last error was: none here"):
            wait_for(fail, "it", 0.1)

    def test_a_wait_ends_at_once_when_the_program_is_gone(self):
        def gone():
            raise ProgramEnded("gone")

        start = time.monotonic()
        with pytest.raises(ProgramEnded):
            wait_for(gone, "it", 60)
        assert time.monotonic() - start < 10


class TestProcesses:
    """A process is known by its id and its start, so that nobody else's is ever ended."""

    def test_it_outlives_its_starter_and_is_ended_by_what_is_known_of_it(self, tmp_path):
        pid = detached(["sleep", "600"], tmp_path / "log")
        process = Process.of(pid)
        process.write(tmp_path / "kept.json")
        kept = Process.read(tmp_path / "kept.json")
        assert kept == process
        kept.end()
        assert not process.alive
        assert Process.read(tmp_path / "kept.json") is None

    def test_another_one_of_the_same_id_is_left_alone(self, tmp_path):
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            right = Process.of(child.pid)
            wrong = Process(right.pid, right.start - 1)
            assert not wrong.alive
            wrong.end(signal.SIGKILL, patience=0.1)
            assert right.alive
            child.communicate(b"\n")
            assert child.returncode == 0

    def test_one_that_ignores_its_signal_is_killed(self, tmp_path):
        pid = detached(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], tmp_path / "log")
        wait_for(lambda: "ready" in (tmp_path / "log").read_text(), "it ignores the signal", 10)
        process = Process.of(pid)
        process.end(patience=0.2)
        assert not process.alive


def test_simulated_nodes_are_spread_over_the_regions():
    nodes = simulated.nodes(7, ["a", "b", "c"])
    label = "topology.kubernetes.io/region"
    assert [node["metadata"]["labels"][label] for node in nodes] == list("abcabca")
    assert len({node["metadata"]["name"] for node in nodes}) == 7


class TestDocumentation:
    """What docs/testing-on-a-cluster.md shows exists."""

    text = (HERE.parents[1] / "docs" / "testing-on-a-cluster.md").read_text()

    def test_every_target_is_in_the_makefile(self):
        makefile = (HERE.parents[1] / "Makefile").read_text()
        shown = set(re.findall(r"(?:^|[`(])make (?:-s )?([a-z][a-z0-9-]+)", self.text, re.MULTILINE))
        assert {"cluster-up", "cluster-down", "cluster-build", "e2e"} <= shown
        assert all(f"\n{target}: " in makefile for target in shown), shown

    def test_every_command_is_one_of_the_harness(self, capsys):
        shown = set(re.findall(r"-m cluster ((?:fault )?[a-z-]+)", self.text))
        assert {"api", "fault cut", "fault heal", "possible"} <= shown
        for command in shown:
            with pytest.raises(SystemExit) as ended:
                cli.main([*command.split(), "--help"])
            assert ended.value.code == 0, command

    def test_every_variable_is_read_and_told(self):
        shown = set(re.findall(r"PEERSDB_E2E[A-Z_]*", self.text))
        sources = "".join(path.read_text() for path in [*HERE.glob("cluster/*.py"), HERE / "conftest.py"])
        read = set(re.findall(r"PEERSDB_E2E[A-Z_]*", sources)) - {"PEERSDB_E2E_MACHINE", "PEERSDB_E2E_"}
        assert shown == read | {"PEERSDB_E2E_NODE_IMAGE", "PEERSDB_E2E_OPERATOR_IMAGE"}
