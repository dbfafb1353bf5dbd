"""`peersdb-operator benchmark`: what it says and what it refuses; what a manifest means for its load test."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_cluster import measure

from peersdb_operator import __main__ as cli
from peersdb_operator import benchmark, load
from peersdb_operator.bench_cli import remote, standing
from peersdb_operator.bench_local import run
from peersdb_operator.errors import BenchmarkError, UsageError
from peersdb_operator.local.state import StateDir

REGIONS = st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True)


@given(REGIONS, st.integers(0, 40))
def test_every_region_is_driven_and_no_region_has_two_workers_more_than_another(regions, wanted):
    groups = load.workers(regions, wanted)
    assert sum(group.count for group in groups) == (wanted or len(regions))
    assert sorted(region for group in groups for region in group.drives) == sorted(regions)
    assert all(group.region == group.drives[0] for group in groups)
    counts = [group.count for group in groups]
    assert max(counts) - min(counts) <= 1


@given(REGIONS, st.integers(1, 6), st.integers(1, 6), st.sampled_from(["Region", "Spread"]))
def test_waves_are_of_one_size_and_no_newcomer_comes_twice(regions, size, waves, order):
    spec = {"perWave": size, "waves": waves, "order": order}
    wanted = benchmark.from_object(measure(profile="bootstrap", newcomers=spec))
    found = [load.newcomers(wanted, regions, wave) for wave in range(1, waves + 1)]
    everyone = [newcomer for wave in found for newcomer in wave]
    assert {len(wave) for wave in found} == {size}
    assert len(set(everyone)) == len(everyone)
    for region in regions:
        numbers = [newcomer.index for newcomer in everyone if newcomer.region == region]
        assert numbers == list(range(len(numbers)))
    if order == "Region":
        assert [{it.region for it in wave} for wave in found] == [
            {regions[number % len(regions)]} for number in range(waves)
        ]


def test_a_run_may_take_more_than_its_times():
    wanted = benchmark.from_object(measure(runTime="10m", repeats=3, matrix={"peers": [1, 2]}))
    assert load.longest(wanted) > 6 * 605


def test_times_and_figures_have_three_digits_and_a_unit():
    written = [standing.duration(seconds) for seconds in (0, 0.00123, 0.0123, 0.123, 1.234, 12.34, 123.4)]
    assert written == ["0.00 s", "1.23 ms", "12.3 ms", "123 ms", "1.23 s", "12.3 s", "123 s"]


def test_a_summary_shows_figures_with_their_intervals_and_leaves_out_those_without_a_value():
    headline = {
        "requests.rate": {"value": 12.34, "ci95": None, "repeats": 1},
        "replication.p99": {"value": 0.04, "ci95": [0.03, 0.05], "repeats": 3},
        "join.max": {"value": None, "failed": True},
        "join.median": {"value": None},
        "errors.ratio": {"value": 0.0},
    }
    thresholds = [{"metric": "memory.max", "bound": "max", "limit": "1Gi", "value": 2.0**29, "passed": True}]
    value = {"passed": True, "headline": headline, "thresholds": thresholds}
    summary = standing.summary_of_file(value, passed=True)
    assert summary.passed
    assert summary.figures == (
        ("requests.rate", "12.3/s"),
        ("replication.p99", "40.0 ms (30.0 ms to 50.0 ms)"),
        ("join.max", "failed"),
        ("errors.ratio", "0"),
    )
    assert summary.thresholds == (standing.Verdict("memory.max", "<= 1Gi", "512 Mi", True),)


@pytest.mark.parametrize(("said", "file"), [(False, True), (True, False), (False, False)])
def test_a_run_passed_only_if_both_the_load_test_and_its_report_say_so(said, file):
    assert not standing.summary_of_file({"passed": file}, passed=said).passed


def test_a_benchmark_that_waits_says_what_for():
    waits = {"type": "Started", "status": "False", "reason": "ClusterBusy", "message": "waits for measure"}
    seen = standing.of_status({"phase": "Pending", "conditions": [waits]})
    assert (seen.stage, seen.done, seen.ended) == ("Pending: waits for measure", 0.0, False)


def test_a_benchmark_without_a_status_is_pending():
    seen = standing.of_status({})
    assert (seen.stage, seen.done, seen.facts, seen.ended) == ("Pending", 0.0, (), False)


def test_what_a_status_says_of_its_troubles_is_shown():
    bad = {"type": "Degraded", "status": "True", "reason": "WorkerLost", "message": "worker eu-0 was killed"}
    assert standing.of_status({"phase": "Running", "conditions": [bad]}).problems == (
        "worker eu-0 was killed",
    )


@pytest.mark.parametrize("value", [{}, {"state": "running", "users": "x"}, {"state": "running", "wants": 3}])
def test_a_progress_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match=r"no progress|invalid literal"):
        load.Progress.from_json(value)


def test_a_result_that_is_cut_off_or_outside_of_its_directory_is_not_written():
    packed = gzip.compress(b"x" * 1000)
    with pytest.raises(BenchmarkError, match="cut off"):
        remote._gunzip("report.html", packed[:-9])
    with pytest.raises(BenchmarkError, match="cannot be unpacked"):
        remote._gunzip("report.html", b"\x1f\x8bnonsense")
    assert remote.unpacked({"data": {"../evil": "x", "good": "y"}}) == {"good": b"y"}


def test_runs_of_one_name_are_counted_apart_from_those_of_another(tmp_path):
    state = StateDir(tmp_path)
    made = []
    for name in ("load", "load", "load-2", "load"):
        made.append(run.results_directory(state, name, None))
        (made[-1] / "report.html").write_text("")
    assert [path.name for path in made] == ["load", "load.2", "load-2", "load.3"]
    assert [path.name for path in run.runs(state, "load")] == ["load", "load.2", "load.3"]
    with pytest.raises(UsageError, match="is not empty"):
        run.results_directory(state, "load", made[0])


# The command line.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "-f", "FILE", "--kube", "--dir", "x"], "give one side"),
        (["run", "-f", "FILE", "-n", "x", "--dataset", "y"], "--dataset means nothing in Kubernetes"),
        (["run", "-f", "FILE", "--wait"], "--wait means nothing on a local cluster"),
        (["report", "nothing"], "say where the benchmark ran"),
        (["compare", "nothing", "other"], "say where the benchmark ran"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(tmp_path, capsys, arguments, says):
    path = tmp_path / "bench.yaml"
    path.write_text(json.dumps(measure()))
    code = cli.main(["benchmark", *(str(path) if word == "FILE" else word for word in arguments)])
    assert (code, says in capsys.readouterr().err) == (2, True)


def test_check_says_what_a_benchmark_measures(tmp_path, capsys):
    path = tmp_path / "bench.yaml"
    path.write_text(json.dumps(measure(matrix={"peers": [1, 2]}, repeats=3)))
    assert cli.main(["check", "-f", str(path)]) == 0
    assert (
        "valid, measure measures demo: contribution, 6 users, 2 cells, 3 repeats" in capsys.readouterr().out
    )
