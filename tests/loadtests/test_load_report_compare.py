"""Two runs compared: noise is no change, a change is one, and a failed run is never the better one."""

import json
import random
import subprocess
import sys

import pandas as pd
import pytest
from load_report_runs import COLUMNS, REGIONS, Page, write_rows, write_run

from loadtests.report.__main__ import main
from loadtests.report.comparison import BETTER, INCOMPARABLE, RESAMPLED, SAME, WELCH, WORSE, compare
from loadtests.report.comparison_command import as_json
from loadtests.report.data import load


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs by name: two alike, a slower one, single ones, and one with failures."""
    place = tmp_path_factory.mktemp("runs")
    made = {
        "a": {"seed": 1, "repeats": 4},
        "again": {"seed": 2, "repeats": 4},
        "slow": {"seed": 3, "repeats": 4, "slower": 2.0},
        "single": {"seed": 4},
        "single-slow": {"seed": 5, "slower": 2.0},
        "failing": {"seed": 6, "repeats": 4, "slower": 0.3, "failing": 1},
        "broken": {"seed": 7, "repeats": 4, "failing": 60},
    }
    return {name: write_run(place / name, **options) for name, options in made.items()}


def changes(first, second, **options):
    return {one.metric: one for one in compare(load(first), load(second), **options).changes}


@pytest.mark.parametrize("name", ["a", "single", "slow"])
def test_a_run_has_not_changed_against_itself(runs, name):
    compared = compare(load(runs[name]), load(runs[name]))
    assert {one.verdict for one in compared.changes} == {SAME}
    assert compared.differences == ()
    assert not compared.regressed


def test_noise_is_no_change(runs):
    found = changes(runs["a"], runs["again"], confidence=0.999)
    assert {one.verdict for one in found.values()} <= {SAME, INCOMPARABLE}
    assert found["replication.p99"].method == WELCH


def test_twice_the_time_is_worse_and_the_other_way_round_better(runs):
    for first, second, verdict in (("a", "slow", WORSE), ("slow", "a", BETTER)):
        found = changes(runs[first], runs[second])
        for metric in ("post.p50", "replication.p50", "replication.p90", "replication.mean"):
            assert found[metric].verdict == verdict
            assert found[metric].interval[0] * found[metric].interval[1] > 0
        assert found["requests.rate"].verdict == SAME
    assert changes(runs["a"], runs["slow"])["replication.p50"].ratio == pytest.approx(2, rel=0.2)


def test_without_repeats_the_raw_samples_are_drawn_again(runs):
    found = changes(runs["single"], runs["single-slow"])
    assert (found["replication.p50"].verdict, found["replication.p50"].method) == (WORSE, RESAMPLED)
    again = changes(runs["single"], runs["single-slow"])
    assert found["replication.p50"].interval == again["replication.p50"].interval
    assert found["replication.max"].verdict == INCOMPARABLE
    assert found["replication.max"].why == "a maximum needs 2 repeats of each run"
    assert found["post.p99"].why == "100 samples are too few: 500 are needed, or 2 repeats of each run"


def test_the_order_of_samples_changes_no_interval(runs, tmp_path):
    shuffled = write_run(tmp_path / "single-slow", seed=5, slower=2.0)
    rows = pd.read_csv(shuffled / "samples.csv", keep_default_na=False, dtype=str).to_dict("records")
    random.Random(3).shuffle(rows)
    write_rows(shuffled / "samples.csv", COLUMNS, rows)
    first = compare(load(runs["single"]), load(runs["single-slow"]))
    second = compare(load(runs["single"]), load(shuffled))
    assert as_json(first)["changes"] == as_json(second)["changes"]


def test_a_failed_run_is_never_better(runs):
    found = changes(runs["a"], runs["failing"])
    fast = found["replication.p50"]
    assert fast.ratio < 0.5
    assert (fast.verdict, fast.why) == (
        INCOMPARABLE,
        "the second run failed, and is not taken for the better one",
    )
    assert not any(one.verdict == BETTER for one in found.values())
    assert found["replication.max"].verdict == WORSE
    assert found["replication.max"].why == "failures reach into the second"
    assert compare(load(runs["a"]), load(runs["failing"])).regressed


def test_a_failed_first_run_makes_the_second_no_worse(runs):
    found = changes(runs["failing"], runs["a"])
    assert found["replication.p50"].verdict == INCOMPARABLE
    assert found["replication.max"].verdict == BETTER


def test_failures_in_both_cannot_be_compared(runs):
    found = changes(runs["broken"], runs["broken"])
    assert found["replication.p99"].why == "failures reach into both"
    assert not compare(load(runs["broken"]), load(runs["broken"])).regressed


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"profile": "burst"}, "profile"),
        ({"dataset": {"name": "c3o", "files": 5, "bytes": 1, "skipped": []}}, "data set"),
    ],
)
def test_another_profile_or_data_set_cannot_be_compared(runs, tmp_path, fields, what):
    other = write_run(tmp_path / "other", seed=3, repeats=4, slower=2.0, **fields)
    compared = compare(load(runs["a"]), load(other))
    assert [one.what for one in compared.differences] == [what]
    assert {one.why for one in compared.changes} == {f"different {what}"}
    assert not compared.comparable
    assert not compared.regressed


def test_other_cells_thresholds_and_options_are_named(runs, tmp_path):
    other = write_run(
        tmp_path / "other",
        cells=({}, {"regions": 2}),
        repeats=2,
        regions=REGIONS[:2],
        thresholds=[{"metric": "post.p99", "max": "1s"}],
        options={"rate": "4.0", "users": "6", "report": "elsewhere"},
    )
    compared = compare(load(runs["a"]), load(other))
    found = {one.what: (one.before, one.after) for one in compared.differences}
    assert found == {
        "cells": ("all", "all; 2 regions"),
        "thresholds": ("none", "post.p99 at most 1s"),
        "repeats": ("4", "2"),
        "nodes": ("1 in asia-east2, 1 in eu-west1, 1 in us-east1", "1 in eu-west1, 1 in us-east1"),
        "option rate": ("2.0", "4.0"),
    }
    assert {one.cell for one in compared.changes} == {""}


def test_a_threshold_that_is_no_longer_held_is_a_regression(tmp_path):
    held, missed = (
        write_run(tmp_path / name, thresholds=[{"metric": "post.p50", "max": limit}])
        for name, limit in (("held", "10s"), ("missed", "1us"))
    )
    assert compare(load(held), load(missed)).regressed
    assert not compare(load(missed), load(held)).regressed


def test_the_command_says_it_as_a_table_as_json_and_as_a_page(runs, tmp_path, capsys):
    assert main(["compare", str(runs["a"]), str(runs["slow"]), "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "first   a: passed"
    assert any(line.startswith("replication.p50 ") and line.endswith("  worse") for line in lines)
    assert lines[-1].endswith("intervals of 95 %")
    page = Page((tmp_path / "compare.html").read_text())
    assert page.row("replication.p50")[-1] == "worse"
    assert page.count["svg"] == 1 + 5, "the changes, and a distribution of each kind"
    assert {"Changes and their noise", "Distribution of replication"} <= set(page.titles)
    assert main(["compare", str(runs["a"]), str(runs["slow"]), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["regressed"] is True
    (one,) = (change for change in found["changes"] if change["metric"] == "replication.p50")
    assert one["verdict"] == "worse"
    assert one["interval"][0] > 0


def test_the_page_is_whole_in_one_file(runs, tmp_path):
    assert main(["compare", str(runs["single"]), str(runs["single"]), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "compare.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert [path.name for path in tmp_path.iterdir()] == ["compare.html"]


def test_the_exit_code_is_a_gate_only_if_asked(runs, tmp_path, capsys):
    def code(first, second, *flags):
        return main(["compare", str(first), str(second), *flags])

    assert code(runs["a"], runs["slow"]) == 0
    assert code(runs["a"], runs["slow"], "--fail-on-regression") == 1
    assert code(runs["slow"], runs["a"], "--fail-on-regression") == 0
    other = write_run(tmp_path / "other", profile="burst")
    assert code(runs["single"], other, "--fail-on-regression") == 2
    assert "no metric of these runs can be compared" in capsys.readouterr().err
    assert code(runs["a"], tmp_path) == 2


def test_a_confidence_that_is_none_is_refused(runs):
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.report", "compare", "a", "b", "--confidence", "100"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "no confidence" in done.stderr
