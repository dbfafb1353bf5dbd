"""The metrics that stand for a run, and its thresholds: exact, warm, and never better for a failure."""

import json
import math
import random
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from load_report_runs import (
    BEGIN,
    COLUMNS,
    SECONDS,
    WARMUP,
    Page,
    sample,
    write_rows,
    write_run,
)

from loadtests.errors import ResultsError
from loadtests.report import headline, summary, thresholds
from loadtests.report.__main__ import build
from loadtests.report.data import load
from loadtests.report.headline import METRICS
from loadtests.report.intervals import t_quantile
from loadtests.report.summary_file import table
from loadtests.report.units import BYTES, PERCENT, RATE, RATIO, figure, parse_limit
from loadtests.report.units import SECONDS as TIME

CELLS = ({"regions": 3, "peers": 1, "payload_size": 65536}, {"regions": 2, "peers": 1, "payload_size": 65536})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two cells, three repeats of each, thresholds and everything that a run can say."""
    return write_run(
        tmp_path_factory.mktemp("run") / "run",
        cells=CELLS,
        repeats=3,
        joins=[
            sample(BEGIN + 6 + turn, "join", "eu-west1-0", f"us-east1-n{turn}", seconds=2.0 + turn)
            for turn in range(3)
        ],
        thresholds=[
            {"metric": "replication.p99", "max": "10s"},
            {"metric": "post.p50", "max": "1ms"},
            {"metric": "requests.rate", "min": "1/s"},
            {"metric": "errors.ratio", "max": "0"},
        ],
        events=[
            {"kind": "wave", "at": BEGIN + 6, "wave": 1, "members": [{"name": "us-east1-n0"}]},
            {"kind": "cut", "at": BEGIN + 10, "region": "asia-east2"},
            {"kind": "healed", "at": BEGIN + 15, "region": "asia-east2"},
        ],
        clocks={"eu-west1-0": {"offset": 0.0012, "error": 0.0003}},
    )


def raw(directory):
    """The measured samples, by pandas alone."""
    rows = pd.read_csv(directory / "samples.csv", keep_default_na=False)
    segments = pd.DataFrame(json.loads((directory / "run.json").read_text())["segments"])
    rows = rows.merge(segments, left_on="segment", right_on="index")
    rows = rows[rows.ts >= rows.warm_until]
    rows["response"] = rows.seconds + rows.late
    return rows


def test_every_percentile_is_that_of_numpy_and_pandas_over_the_raw_samples(run):
    rows, figures = raw(run), headline.whole(load(run))
    for name, metric in METRICS.items():
        if metric.statistic == headline.Q:
            times = rows[rows.kind == metric.kind].response
            assert figures[name].value == pytest.approx(times.quantile(metric.q / 100), rel=1e-12)
            assert figures[name].value == pytest.approx(np.percentile(times, metric.q), rel=1e-12)
    replication = rows[rows.kind == "replication"].response
    assert figures["replication.mean"].value == pytest.approx(replication.mean(), rel=1e-12)
    assert figures["replication.max"].value == replication.max()


def test_each_cell_has_its_own_figures_and_intervals_over_its_repeats(run):
    rows = raw(run)
    rows = rows[rows.kind == "replication"]
    cells = headline.cells(load(run))
    assert [one.cell.regions for one in cells] == [3, 2]
    for one in cells:
        mine = rows[rows.cell.map(lambda cell, regions=one.cell.regions: cell["regions"] == regions)]
        found = one.figures["replication.p99"]
        assert found.value == pytest.approx(mine.response.quantile(0.99), rel=1e-12)
        repeats = mine.groupby("repeat").response.quantile(0.99)
        assert found.repeats == pytest.approx(tuple(repeats), rel=1e-12)
        half = t_quantile(0.975, 2) * repeats.std() / math.sqrt(3)
        assert found.interval == pytest.approx((fmean(repeats) - half, fmean(repeats) + half))


def test_rates_memory_and_processor_time_are_those_of_the_measured_time(run):
    rows, figures = raw(run), headline.whole(load(run))
    asked = rows[rows.kind.isin(("post", "get", "query", "isvalid"))]
    assert figures["requests.rate"].value == pytest.approx(len(asked) / (6 * (SECONDS - WARMUP)))
    looks = pd.read_csv(run / "nodes.csv")
    segments = json.loads((run / "run.json").read_text())["segments"]
    inside = looks[[any(one["warm_until"] <= ts <= one["ended"] for one in segments) for ts in looks.ts]]
    assert figures["memory.max"].value == inside.mem_bytes.max()
    assert figures["cpu.mean"].value == pytest.approx(inside.cpu_percent.mean())
    assert figures["own.bootstrap.max"].value == 0.4


def test_samples_of_the_warm_up_change_no_figure(tmp_path):
    directory = write_run(tmp_path / "run")
    before = table(load(directory))
    rows = pd.read_csv(directory / "samples.csv", keep_default_na=False).to_dict("records")
    kinds = ("post", "get", "query", "isvalid", "replication", "join")
    slow = [
        sample(BEGIN + turn / 10, kind, "eu-west1-0", "us-east1-0", seconds=99.0, ok=turn % 2 == 0)
        for turn in range(40)
        for kind in kinds
    ]
    write_rows(directory / "samples.csv", COLUMNS, [*rows, *slow])
    after = table(load(directory))
    warm = (before.pop("warmup"), after.pop("warmup"))
    assert after == before
    assert after["passed"] is True
    assert warm[1]["samples"] == warm[0]["samples"] + len(slow)
    assert warm[1]["failed"] == len(slow) // 2


def test_the_order_of_samples_does_not_matter(run, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    for path in run.iterdir():
        if path.suffix in (".json", ".csv"):
            (directory / path.name).write_bytes(path.read_bytes())
    rows = pd.read_csv(run / "samples.csv", keep_default_na=False, dtype=str).to_dict("records")
    random.Random(1).shuffle(rows)
    write_rows(directory / "samples.csv", COLUMNS, rows)
    ordered, shuffled = (table(load(one)) for one in (run, directory))
    for found in (ordered, shuffled):
        found["newcomers"].sort(key=lambda one: one["seconds"])
    assert shuffled == ordered


@pytest.mark.parametrize(("metric", "failing"), [("replication.p99", 10), ("replication.max", 1)])
def test_a_failed_sample_makes_a_percentile_that_it_reaches_failed(tmp_path, metric, failing):
    directory = write_run(tmp_path / "run", failing=failing, thresholds=[{"metric": metric, "max": "1000s"}])
    results = load(directory)
    assert headline.whole(results)[metric].value == math.inf
    (judged,) = thresholds.judge(results)
    assert (judged.passed, judged.text, judged.why) == (False, "failed", "failures reach into it")
    assert headline.whole(results)["replication.p50"].value < 1
    (one,) = table(results)["thresholds"]
    assert (one["value"], one["text"], one["passed"]) == (None, "failed", False)


def test_thresholds_are_judged_and_a_missed_one_fails_the_run(run):
    results = load(run)
    assert [one.passed for one in thresholds.judge(results)] == [True, False, True, True]
    verdict = summary.verdict(results)
    assert verdict.worked
    assert not verdict.passed
    (missed,) = verdict.missed
    assert missed.startswith("threshold missed: post.p50 (")
    assert missed.endswith("is above 1ms")


def test_a_threshold_is_judged_by_the_worst_cell(tmp_path):
    directory = write_run(tmp_path / "run", cells=CELLS)
    rows = pd.read_csv(directory / "samples.csv", keep_default_na=False).to_dict("records")
    for row in rows:
        row["seconds"] *= 10 if row["segment"] == 1 else 1
    write_rows(directory / "samples.csv", COLUMNS, rows)
    run = json.loads((directory / "run.json").read_text())
    run["thresholds"] = [{"metric": "replication.p50", "max": "200ms"}]
    (directory / "run.json").write_text(json.dumps(run))
    (judged,) = thresholds.judge(load(directory))
    assert not judged.passed
    assert judged.cell == "2 regions, 1 peer each, 64 KiB"
    assert judged.value > 0.5


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"metric": "join.max", "max": "10s"}, "it has no value"),
        ({"metric": "replication.p98", "max": "10s"}, "there is no such metric"),
        ({"metric": "post.p99", "max": "10/s"}, "'10/s' is no limit in seconds"),
        ({"metric": "post.p99"}, "'' is no limit in seconds"),
        ({"metric": "requests.rate", "min": "1000/s"}, "is below 1000/s"),
    ],
)
def test_what_cannot_be_judged_has_not_passed(tmp_path, declared, why):
    (judged,) = thresholds.judge(load(write_run(tmp_path / "run", thresholds=[declared])))
    assert not judged.passed
    assert judged.why.endswith(why)


def test_a_metric_that_one_repeat_lacks_has_not_passed(tmp_path):
    directory = write_run(tmp_path / "run", repeats=3, thresholds=[{"metric": "get.p99", "max": "1000s"}])
    rows = pd.read_csv(directory / "samples.csv", keep_default_na=False).to_dict("records")
    kept = [row for row in rows if (row["segment"], row["kind"]) != (1, "get")]
    write_rows(directory / "samples.csv", COLUMNS, kept)
    (judged,) = thresholds.judge(load(directory))
    assert (judged.passed, judged.why) == (False, "it has no value in repeat 2")


def test_a_segment_without_samples_fails_the_run(tmp_path):
    directory = write_run(tmp_path / "run", repeats=2)
    rows = pd.read_csv(directory / "samples.csv", keep_default_na=False).to_dict("records")
    write_rows(directory / "samples.csv", COLUMNS, [row for row in rows if row["segment"] == 0])
    assert (
        "repeat 2 of all: nothing was measured after the warm-up" in summary.verdict(load(directory)).problems
    )


def test_samples_that_name_no_segment_fail_the_run(tmp_path):
    directory = write_run(tmp_path / "run")
    rows = pd.read_csv(directory / "samples.csv", keep_default_na=False).to_dict("records")
    rows[-1]["segment"] = 9
    write_rows(directory / "samples.csv", COLUMNS, rows)
    (problem,) = summary.verdict(load(directory)).problems
    assert problem.startswith("1 samples name no segment")


def test_older_files_without_segments_are_read_as_one(tmp_path):
    directory = write_run(tmp_path / "run")
    rows = (
        pd.read_csv(directory / "samples.csv", keep_default_na=False)
        .drop(columns="segment")
        .to_dict("records")
    )
    write_rows(directory / "samples.csv", COLUMNS[:-1], rows)
    run = json.loads((directory / "run.json").read_text())
    del run["segments"]
    (directory / "run.json").write_text(json.dumps(run))
    results = load(directory)
    assert len(results.samples) == len(rows)
    assert headline.whole(results)["post.p99"].interval is None
    assert summary.verdict(results).passed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"segments": [{"index": 0}]}, "KeyError"),
        ({"latency": {"eu": 5}}, "is not"),
        ({"latency": {"eu/us": -5}}, "-5 ms"),
        ({"clocks": [1]}, "AttributeError"),
    ],
)
def test_a_run_json_of_another_form_is_refused(tmp_path, fields, message):
    with pytest.raises(ResultsError, match=message):
        load(write_run(tmp_path / "run", **fields))


def test_samples_without_a_column_are_refused(tmp_path):
    directory = write_run(tmp_path / "run")
    (directory / "samples.csv").write_text("ts,kind\n")
    with pytest.raises(ResultsError, match="no column bytes"):
        load(directory)


def test_the_page_shows_all_of_it(run, tmp_path):
    page = Page(build(run, tmp_path).read_text())
    assert {"Thresholds", "Metrics", "Clocks", "Events"} <= set(page.titles)
    limit, value, verdict, why = page.row("post.p50")[1:]
    assert (limit, verdict) == ("at most 1ms", "missed")
    assert value.endswith("ms")
    assert "is above 1ms" in why
    _, _, interval, repeats = page.row("replication.max")
    assert " to " in interval
    assert repeats == "3"
    assert page.row("isvalid")[1] == str(len(raw(run).query("kind == 'isvalid'")))
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["passed"] is False
    assert [one["passed"] for one in found["thresholds"]] == [True, False, True, True]
    assert found["thresholds"][1]["limit"] == "1ms"
    assert set(found["headline"]) == set(METRICS)
    assert [one["cell"]["regions"] for one in found["cells"]] == [3, 2]
    assert all(len(one["headline"]["post.p99"]["ci95"]) == 2 for one in found["cells"])


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("500ms", TIME, 0.5),
        ("1.5s", TIME, 1.5),
        ("2m", TIME, 120),
        ("0", RATIO, 0),
        ("1%", RATIO, 0.01),
        ("10/s", RATE, 10),
        ("300Mi", BYTES, 300 * 2**20),
        ("300MB", BYTES, 3e8),
        ("80%", PERCENT, 80),
    ],
)
def test_limits_have_units(text, unit, value):
    assert parse_limit(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, TIME, "12.3 ms"),
        (0.0, TIME, "0 s"),
        (0.015, RATIO, "1.5 %"),
        (1234.5, RATE, "1,234/s"),
        (3e8, BYTES, "300 MB"),
        (12.34, PERCENT, "12.3 %"),
        (math.inf, RATIO, "failed"),
        (math.nan, RATE, "none"),
    ],
)
def test_figures_have_units(value, unit, text):
    assert figure(value, unit) == text
