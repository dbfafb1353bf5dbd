"""Rivals beside our own rows: driven as our nodes are, skipped with a reason, never silently."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.measures import MEASURES
from benchmarks.rivals import install
from benchmarks.rivals.drive import measure

#: A node that keeps entries in memory and files in its directory, by the protocol of the rivals' programs.
NODE = """
import json, shutil, sys, time
added = 0
def add(count):
    global added
    added += count
    return 0.5
commands = {
    "create": lambda: "ticket", "add": add, "count": lambda: added, "join": lambda ticket, count: count / 1000,
    "listen": lambda: None, "add_one": lambda: (add(1), time.monotonic())[1], "seen": time.monotonic,
    "share": lambda file: [0.5, file], "fetch": lambda ticket, to: (shutil.copy(ticket, to), 2.0)[1],
}
print('"ready"', flush=True)
for line in sys.stdin:
    command, *args = json.loads(line)
    print(json.dumps(commands[command](*args)), flush=True)
"""


@pytest.fixture
def command(tmp_path):
    program = tmp_path / "node.py"
    program.write_text(NODE)
    return [sys.executable, str(program)]


def test_the_driver_measures_all_in_the_units_of_our_rows(command, tmp_path):
    found = measure(command, tmp_path, 2000, files=True)
    assert (found["add"], found["new peer 1000"], found["new peer 2000"]) == (2000, 1, 2)
    assert (found["file in"], found["file from a peer"]) == (2 * 67.108864, 67.108864 / 2)
    assert 0 < found["start"] < 10
    assert 1 < found["idle memory"] < 100
    assert 0 <= found["live median"] <= found["live p99"]


def test_each_figure_of_a_rival_has_a_row_of_ours_beside_it(command, tmp_path):
    found = measure(command, tmp_path, 1000, files=True)
    modules = {measure.__module__ for measure in MEASURES.values()}
    source = "".join(Path(sys.modules[module].__file__).read_text() for module in modules)
    for key in found:
        assert f'"{key.partition(" 1000")[0]}' in source, key


def test_a_node_that_ends_is_an_error_and_no_figure(tmp_path):
    with pytest.raises(SystemExit, match="a node ended"):
        measure([sys.executable, "-c", "print('\"ready\"')"], tmp_path, 1000, files=False)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (["there-is-no-such-program"], "there is no there-is-no-such-program on this machine"),
        (["sh", "-c", "echo 'no network' >&2; exit 3"], "sh failed with status 3: no network"),
        (["sleep", "60"], "sleep took longer than 0 s"),
    ],
)
def test_what_cannot_be_run_is_skipped_with_its_reason(tmp_path, program, reason):
    with pytest.raises(install.Skipped, match=reason):
        install._run(program, tmp_path, 0.2)


def test_without_the_tools_all_rivals_are_skipped_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "_install_iroh", lambda place: ["never", "reached"])
    found = install.run_all(tmp_path, 1000)
    assert [one.name for one in found] == ["iroh", "OrbitDB JS"]
    assert [one.figures for one in found] == [{}, {}]
    assert "there is no unshare on this machine" in found[0].skipped
    assert "there is no npm on this machine" in found[1].skipped
    assert "skipped" in capsys.readouterr().out
    assert json.dumps(found[0].skipped)
