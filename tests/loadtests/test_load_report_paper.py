"""The original's two figures and tables, from our run, beside published results."""

import json
import math
import random
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from load_report_runs import BEGIN, COLUMNS, Page, own, sample, write_rows, write_run

from loadtests.report import comparison_command, paper
from loadtests.report.__main__ import main, parser, read
from loadtests.report.headline import METRICS
from loadtests.report.paper import ARRIVAL, JOINED, VISIBLE, region_name

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "reports.md").read_text()
REGIONS = ("us-west1", "asia-east2")
LATENCY = {"us-west1/asia-east2": 60.0}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Files in the format of the original's evaluation, with its names of zones."""
    place, rng = tmp_path_factory.mktemp("published"), random.Random(5)
    zones = ("us-west1-b", "asia-east2-a", "me-west1-b")
    values = [
        own(zone, rng, bootstrap=40.0 + turn, slower=10, start=turn * 30)
        for turn, zone in enumerate(zones * 3)
    ]
    grown = [{**one, "averagec": 0, "minc": 0, "maxc": 0} for one in values]
    steady = [{**one, "bootstrap": 0} for one in values]
    for name, found in (("bootstrap", grown), ("contribution", steady)):
        (place / f"{name}.json").write_text(json.dumps(found))
    return place


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two waves of two newcomers, and what two nodes of two regions did."""
    joins = [
        sample(
            BEGIN + 6 + 8 * wave + turn, "join", "us-west1-0", f"asia-east2-n{wave}{turn}", seconds=1.0 + wave
        )
        for wave in (0, 1)
        for turn in (0, 1)
    ]
    events = [
        {"kind": "wave", "at": BEGIN + 5 + 8 * wave, "wave": wave + 1}
        | {"members": [{"name": f"asia-east2-n{wave}{turn}"} for turn in (0, 1)]}
        for wave in (0, 1)
    ]
    return write_run(tmp_path_factory.mktemp("run") / "run", regions=REGIONS, joins=joins, events=events)


@pytest.mark.parametrize(
    ("region", "name"),
    [
        ("us-west1-b", "us-west1"),
        ("australia-southeast1-a", "australia-southeast1"),
        ("us-west1", "us-west1"),
        ("eu-a", "eu-a"),
        ("eu", "eu"),
        ("", "(none)"),
    ],
)
def test_regions_are_matched_without_their_zone(region, name):
    assert region_name(region) == name


def test_newcomers_know_their_wave_and_how_large_the_cluster_was(run):
    assert [(one.wave, one.before, one.seconds) for one in paper.joined(read(run))] == [
        (1, 2, 1.0),
        (1, 2, 1.0),
        (2, 4, 2.0),
        (2, 4, 2.0),
    ]


def test_figure_1_stands_beside_published_results_region_by_region(run, published):
    results = read(run, beside=[f"{published / 'bootstrap.json'}=the original"])
    rows = {row.region: row for row in paper.start_rows(results)}
    assert set(rows) == {"us-west1", "asia-east2", "me-west1"}
    ours, theirs = (rows["asia-east2"].group(label) for label in (JOINED, "the original"))
    assert (ours.nodes, ours.median, ours.low, ours.high) == (4, 1.5, 1.0, 2.0)
    assert (theirs.nodes, theirs.median) == (3, 44.0)
    assert rows["asia-east2"].ratio("the original", JOINED, "median") == pytest.approx(44 / 1.5)
    assert math.isnan(rows["me-west1"].ratio("the original", JOINED, "median"))
    assert [one.before for one in paper.starts(results)["the original"]] == list(range(9))


def test_figure_2_has_arrival_and_visibility_apart_and_counts_in_half_round_trips(run, published, tmp_path):
    latency = tmp_path / "latency.json"
    latency.write_text(json.dumps(LATENCY))
    results = read(run, beside=[str(published / "contribution.json")], latency=latency)
    row = next(one for one in paper.spread_rows(results) if one.region == "asia-east2")
    samples = pd.read_csv(run / "samples.csv", keep_default_na=False)
    seen = samples.query(f"kind == 'replication' and target == 'asia-east2-0' and ts >= {BEGIN + 5}").seconds
    assert row.group(VISIBLE).mean == pytest.approx(seen.mean())
    assert row.group(VISIBLE).high == seen.max()
    mine = [one for one in json.loads((run / "benchmark.json").read_text()) if one["region"] == "asia-east2"]
    assert row.group(ARRIVAL).mean == pytest.approx(mine[0]["averagec"])
    assert row.group("contribution").nodes == 3
    assert row.limit == 0.03
    assert row.times_limit(VISIBLE) == pytest.approx(seen.mean() / 0.03)


def test_a_limit_is_of_where_the_entries_came_from_and_none_where_that_is_unknown(tmp_path):
    run = write_run(
        tmp_path / "run", regions=(*REGIONS, "me-west1"), latency={**LATENCY, "us-west1-b/me-west1": 80}
    )
    found = paper.limits(read(run))
    assert found == {"us-west1": pytest.approx((30 + 40) / 2 / 1000, rel=0.05)}


def test_a_failure_leaves_no_mean_in_figure_2(tmp_path):
    rows = paper.spread_rows(read(write_run(tmp_path / "run", regions=REGIONS, failing=60)))
    assert all(row.group(VISIBLE).mean == math.inf for row in rows)


def test_the_report_draws_both_figures_and_tables_beside_published_results(run, published, tmp_path):
    latency = tmp_path / "latency.json"
    latency.write_text(json.dumps({**LATENCY, "us-west1/us-west1": 1, "asia-east2/asia-east2": 1}))
    command = [str(run), "--out", str(tmp_path / "out"), "--latency", str(latency)]
    for name in ("bootstrap", "contribution"):
        command += ["--beside", f"{published / name}.json=published {name}"]
    assert main(command) == 0
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert {"Figure 1: bootstrap time by region", "Figure 2: replication time by region"} <= set(page.titles)
    tables = [row for row in page.rows if row and row[0] == "asia-east2"]
    first, second = (next(row for row in tables if text in row) for text in ("44.0 s", "30.0 ms"))
    assert first[1:5] == ["4", "1.50 s", "1.00 s", "2.00 s"]
    assert first[-2:] == ["29.3x", "none"]
    assert second[1] == "30.0 ms"
    for name in ("paper-bootstrap", "paper-replication"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads((tmp_path / "out" / "summary.json").read_text())["paper"]
    assert [one["region"] for one in figures["bootstrap"]] == ["asia-east2", "me-west1", "us-west1"]
    assert figures["bootstrap"][0]["published bootstrap"]["median"] == 44.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beside", "nothing.json"], "nothing.json"),
        (["--beside", "{0}/bootstrap.json", "--beside", "{0}/bootstrap.json"], "different labels"),
        (["--beside", "{0}/bootstrap.json=arrival"], "different labels"),
        (["--latency", "{0}/bootstrap.json"], "round trips must be"),
        (["--latency", "nothing.json"], "nothing.json"),
    ],
)
def test_what_cannot_stand_beside_ours_is_refused_in_one_line(run, published, capsys, arguments, message):
    assert main([str(run), *(one.format(published) for one in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_newcomer_that_failed_is_told_and_has_no_time(tmp_path):
    run = write_run(tmp_path / "run", regions=REGIONS)
    rows = pd.read_csv(run / "samples.csv", keep_default_na=False).to_dict("records")
    rows.append(sample(BEGIN + 9, "join", "us-west1-0", "us-west1-n0", seconds=60.0, ok=False))
    write_rows(run / "samples.csv", COLUMNS, rows)
    (one,) = paper.joined(read(run))
    assert one.seconds == math.inf
    assert (
        next(row for row in paper.start_rows(read(run)) if row.region == "us-west1").group(JOINED).high
        == math.inf
    )


def test_the_document_names_every_option_and_metric():
    for known in (parser(), comparison_command.parser()):
        for action in known._actions:
            if action.option_strings and action.dest != "help":
                assert f"`{action.option_strings[-1]}" in TEXT
    for metric in METRICS:
        assert f"`{metric}`" in TEXT


def test_the_commands_of_the_document_are_understood():
    commands = re.findall(r"^python -m loadtests\.report (.*)$", TEXT, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command)
        if words[0] == "compare":
            assert comparison_command.parser().parse_args(words[1:]).out == Path("compared")
        else:
            assert parser().parse_args(words).source == Path("demo-run/report")
