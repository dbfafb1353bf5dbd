"""The report: drawn from files alone, whole in one page, and honest about failures."""

import json
import random
import re
import subprocess
import sys

import pandas as pd
import pytest

from loadtests.errors import ResultsError
from loadtests.report import summary
from loadtests.report.__main__ import build, main
from loadtests.report.data import load
from loadtests.results import ResultsWriter, RunDescription, prepare, read_run
from loadtests.samples import NodeSample, Sample

REGIONS = {"eu-0": "eu", "us-0": "us", "asia-0": "asia"}


def a_run(directory, *, failing=False):
    """Write the files of a run of 20 s on three nodes."""
    rng = random.Random(3)
    writer = ResultsWriter(directory)
    names = list(REGIONS)
    for turn in range(120):
        source, ts = names[turn % 3], 1000.0 + turn / 6
        for kind in ("post", "get", "query"):
            bad = failing and kind == "get" and turn % 20 == 0
            writer.samples.write(
                Sample(
                    ts,
                    kind,
                    source,
                    "",
                    REGIONS[source],
                    "",
                    rng.lognormvariate(-4, 0.5),
                    rng.random() / 1000,
                    0.0,
                    5000,
                    ok=not bad,
                    error="404 not_found: nobody <has> it" if bad else "",
                ).row()
            )
        for target in set(names) - {source}:
            bad = failing and target == "asia-0" and turn % 10 == 1
            writer.samples.write(
                Sample(
                    ts,
                    "replication",
                    source,
                    target,
                    REGIONS[source],
                    REGIONS[target],
                    10.0 if bad else rng.lognormvariate(-3, 0.4),
                    0.0,
                    0.005,
                    5000,
                    ok=not bad,
                    error="not in asia-0's query within 10 s" if bad else "",
                ).row()
            )
    for turn in range(2):
        writer.samples.write(
            Sample(
                1005.0 + turn,
                "join",
                "eu-0",
                "newcomer",
                "eu",
                "eu",
                1.5 + turn,
                0.0,
                0.0,
                0,
                ok=True,
                error="",
            ).row()
        )
    for second in range(20):
        for name, region in REGIONS.items():
            writer.node(
                NodeSample(1000.0 + second, name, region, 98_000_000 + second * 10_000, 3.5, 10, 2, 0)
            )
    nodes = [
        {
            "name": name,
            "region": region,
            "root": name == "eu-0",
            "version": "0.1.0",
            "url": f"http://{name}:8080",
        }
        for name, region in REGIONS.items()
    ]
    run = RunDescription(
        profile="mixed",
        started=1000.0,
        ended=1020.0,
        command="locust --headless",
        nodes=nodes,
        dataset={"name": "vega", "files": 17, "bytes": 850_000, "skipped": []},
        options={"rate": "2.0"},
        environment={"Python": "CPython 3.11"},
        unwatched_posts=3,
    )
    own = [
        {"bootstrap": 0.4, "averagec": 0.1, "minc": 0.01, "maxc": 0.5, "region": region, "samples": []}
        for region in REGIONS.values()
    ]
    writer.finish(run, own)
    return directory


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    directory = a_run(tmp_path_factory.mktemp("good") / "report")
    build(directory, directory)
    return directory


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    directory = a_run(tmp_path_factory.mktemp("bad") / "report", failing=True)
    build(directory, directory)
    return directory


PLOTS = {
    "replication",
    "replication-cdf",
    "bootstrap",
    "throughput",
    "latency",
    "memory",
    "cpu",
    "paper-bootstrap",
    "paper-replication",
}


def test_every_plot_is_there_as_png_and_svg(good):
    for kind, begin in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        found = {path.stem: path for path in good.glob(f"*.{kind}")}
        assert set(found) == PLOTS
        assert all(path.read_bytes().startswith(begin) for path in found.values())


def test_the_page_is_whole_in_one_file(good):
    page = (good / "report.html").read_text()
    assert page.count("<svg") == len(PLOTS)
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", page), "nothing is fetched from anywhere"
    assert "@import" not in page
    assert "url(http" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "inlined plots do not share ids"


def test_a_run_that_worked_passes(good):
    assert 'class="verdict good"' in (good / "report.html").read_text()
    assert json.loads((good / "summary.json").read_text())["passed"] is True


def test_a_run_with_failures_says_so_first_and_never_as_a_figure(bad):
    page = (bad / "report.html").read_text()
    assert 'class="verdict bad"' in page
    assert page.index('id="verdict"') < page.index("<svg")
    assert "get: 6 of 120 failed" in page
    assert "not in asia-0&#39;s query within 10 s" in page
    assert "nobody &lt;has&gt; it" in page, "errors are text, not markup"
    figures = json.loads((bad / "summary.json").read_text())
    assert figures["passed"] is False
    assert figures["requests"]["get"]["p99"] is None
    assert figures["requests"]["get"]["p50"] > 0
    assert any(pair["p99"] is None and pair["target"] == "asia" for pair in figures["replication"])


def test_the_figures_are_those_that_pandas_computes_from_the_raw_samples(good):
    raw = pd.read_csv(good / "samples.csv", keep_default_na=False)
    figures = json.loads((good / "summary.json").read_text())
    for kind in ("post", "get", "query"):
        times = raw[raw.kind == kind].eval("seconds + late")
        for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            assert figures["requests"][kind][name] == pytest.approx(times.quantile(q), rel=1e-9)
    grouped = raw[raw.kind == "replication"].groupby(["source_region", "target_region"]).seconds
    assert len(figures["replication"]) == len(grouped) == 6
    for pair in figures["replication"]:
        times = grouped.get_group((pair["source"], pair["target"]))
        assert pair["count"] == len(times)
        assert pair["p99"] == pytest.approx(times.quantile(0.99), rel=1e-9)


def test_the_same_files_draw_the_same_page(good, tmp_path):
    again = build(good, tmp_path)
    assert again.read_text() == (good / "report.html").read_text()


def test_a_run_that_never_ended_has_failed(tmp_path):
    directory = a_run(tmp_path / "report")
    (directory / "run.json").unlink()
    judged = summary.verdict(load(directory))
    assert judged.problems == ("the run never came to its end: there is no run.json",)


def test_posts_whose_replication_nobody_saw_are_a_failure(tmp_path):
    directory = a_run(tmp_path / "report")
    rows = (directory / "samples.csv").read_text().splitlines(keepends=True)
    (directory / "samples.csv").write_text("".join(row for row in rows if ",replication," not in row))
    assert "no replication" in summary.verdict(load(directory)).problems[0]


def test_a_benchmark_json_of_the_original_is_a_report_of_its_own(tmp_path):
    source = tmp_path / "contribution.json"
    times = [f"2023-07-25T13:18:{second:02}.99{second:07}Z" for second in range(9)]
    samples = [{"ts": ts, "membytes": 47_000_000, "cpupercent": 12.5} for ts in times]
    common = {"averagec": 0.1, "minc": 0.08, "maxc": 0.7, "samples": samples}
    values = [{"bootstrap": 60.5 + n, "region": f"r{n % 2}", **common} for n in range(5)]
    source.write_text(json.dumps(values))
    assert main([str(source)]) == 0
    out = tmp_path / "contribution-report"
    assert {path.stem for path in out.glob("*.svg")} == {
        "paper-bootstrap",
        "paper-replication",
        "own-memory",
        "own-cpu",
    }
    (r0, r1) = json.loads((out / "summary.json").read_text())["own"]
    assert (r0["nodes"], r0["bootstrap"], r1["bootstrap"]) == (3, 62.5, 62.5)


def test_the_report_is_a_command(good):
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.report", str(good)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"passed: {good / 'report.html'}\n"


def test_a_directory_without_results_is_refused_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert re.fullmatch(r"report: .* is it the report of a run\?\n", capsys.readouterr().err)


def test_results_never_replace_other_files(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ResultsError, match="holds other files"):
        prepare(tmp_path)


def test_new_results_replace_older_ones(tmp_path):
    directory = a_run(tmp_path / "report")
    ResultsWriter(directory)
    assert not (directory / "run.json").exists()
    assert load(directory).samples == []


def test_a_description_of_another_format_is_refused(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"format": 99}')
    with pytest.raises(ResultsError, match="format 99"):
        read_run(path)
    path.write_text("[]")
    with pytest.raises(ResultsError, match="no description"):
        read_run(path)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0000123, "12.3 µs"),
        (0.00456, "4.56 ms"),
        (0.0456, "45.6 ms"),
        (0.456, "456 ms"),
        (4.56, "4.56 s"),
        (456.0, "456 s"),
        (float("inf"), "failed"),
        (float("nan"), "none"),
    ],
)
def test_times_are_written_with_three_digits_and_a_unit(seconds, text):
    assert summary.duration(seconds) == text
