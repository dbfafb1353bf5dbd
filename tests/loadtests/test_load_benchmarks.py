"""The original's result files: read and written to the letter."""

import json

import pytest

from loadtests import benchmarks
from loadtests.benchmarks import Benchmark, parse_benchmarks, parse_time, to_csv
from loadtests.errors import ResultsError

VALUES = [
    {
        "bootstrap": 62.879581116,
        "averagec": 0.1,
        "minc": 0.05,
        "maxc": 0.7,
        "region": "asia-east2-a",
        "samples": [{"ts": "2023-07-25T14:26:25.328078761Z", "membytes": 91244576, "cpupercent": 84.5}],
    },
    {"bootstrap": 0, "averagec": 0, "minc": 0, "maxc": 0, "region": "us", "samples": None},
]


def test_the_table_has_the_originals_header_and_order():
    header = "Bootstrap time, Maximum time for replication, Minimum time for replication, "
    assert to_csv(VALUES).splitlines() == [
        header + "Average replication time,Node Region",
        "62.879581116,0.7,0.05,0.1,asia-east2-a",
        "0,0,0,0,us",
    ]


def test_the_list_is_read():
    first, second = parse_benchmarks(json.dumps(VALUES))
    assert (first.bootstrap, first.maximum, first.region) == (62.879581116, 0.7, "asia-east2-a")
    assert first.samples[0].mem_bytes == 91244576
    assert second.samples == ()


def test_both_files_are_written(tmp_path):
    benchmarks.write(tmp_path, VALUES)
    assert json.loads((tmp_path / "benchmark.json").read_text()) == VALUES
    assert (tmp_path / "benchmark.csv").read_text() == to_csv(VALUES)


def test_nothing_is_written_if_one_value_is_no_benchmark(tmp_path):
    with pytest.raises(ResultsError, match="KeyError"):
        benchmarks.write(tmp_path, [*VALUES, {"region": "us"}])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"bootstrap": "soon"}]'])
def test_what_is_no_list_of_benchmarks_is_refused(text):
    with pytest.raises(ResultsError):
        parse_benchmarks(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T00:00:01.123456789Z", 1.123456),
        ("1970-01-01T02:00:01.250+02:00", 1.25),
        ("1969-12-31T19:00:01.250000001-05:00", 1.25),
    ],
)
def test_times_with_any_digits_and_zone_are_read(text, seconds):
    assert parse_time(text) == pytest.approx(seconds, abs=1e-9)


def test_a_benchmark_without_a_field_is_refused():
    with pytest.raises(ResultsError, match="averagec"):
        Benchmark.from_json({"bootstrap": 1.0})
