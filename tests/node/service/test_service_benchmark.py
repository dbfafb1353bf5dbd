"""The original's numbers: what they count and who is asked for them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_helpers import Chain, address, eventually, number_of_entries, post, same, world

from peersdb.core.contribution import format_timestamp
from peersdb.core.wire import BENCHMARK_PROTOCOL, MAX_BENCHMARK
from peersdb.errors import InvalidMessage, NotEnabled
from peersdb.service.benchmark import MAX_SAMPLES, RECENT, Benchmark, decode_benchmark
from peersdb.service.environment import Environment

SECOND = 10**9
START = 1_000 * SECOND


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


def entry_of(created):
    return Chain(90, "/orbitdb/x").entry(creation_ts=format_timestamp(created))


def test_before_anything_arrived_all_is_zero():
    result = Benchmark(Environment(Clock()), "eu").result()
    assert [result[name] for name in ("bootstrap", "averagec", "minc", "maxc", "region", "samples")] == [
        0.0,
        0,
        0.0,
        0.0,
        "eu",
        [],
    ]


@given(st.lists(st.integers(0, 3600 * SECOND), min_size=1, max_size=20))
def test_an_entry_s_way_is_counted_from_its_creation_to_its_arrival(delays):
    clock = Clock()
    benchmark = Benchmark(Environment(clock), "")
    for delay in delays:
        clock.now = START + 3600 * SECOND
        benchmark.arrived([entry_of(clock.now - delay)])
    result = benchmark.result()
    assert result["minc"] == pytest.approx(min(delays) / SECOND, abs=1e-6)
    assert result["maxc"] == pytest.approx(max(delays) / SECOND, abs=1e-6)
    assert result["averagec"] == pytest.approx(sum(delays) / len(delays) / SECOND, abs=1e-6)
    assert result["bootstrap"] == 0


def test_entries_older_than_the_start_count_for_the_bootstrap_alone():
    clock = Clock()
    benchmark = Benchmark(Environment(clock), "")
    for seconds in (2, 5):
        clock.now = START + seconds * SECOND
        benchmark.arrived([entry_of(START - 100 * SECOND)])
    assert benchmark.result()["bootstrap"] == 5.0
    assert benchmark.result()["maxc"] == 0.0


def test_the_recent_mean_is_of_the_newest_alone():
    clock = Clock()
    benchmark = Benchmark(Environment(clock), "")
    assert benchmark.recent() is None
    clock.now = START + 3600 * SECOND
    for seconds in (*[50] * RECENT, *[2] * (RECENT // 2), *[4] * (RECENT // 2)):
        benchmark.arrived([entry_of(clock.now - seconds * SECOND)])
    assert benchmark.recent() == pytest.approx(3.0)


def test_a_writer_s_clock_that_is_ahead_counts_as_no_time():
    benchmark = Benchmark(Environment(Clock()), "")
    benchmark.arrived([entry_of(START + 60 * SECOND)])
    assert benchmark.result()["minc"] == benchmark.result()["averagec"] == 0.0


def test_the_samples_are_bounded_and_fit_one_message():
    clock = Clock()
    benchmark = Benchmark(Environment(clock), "a-region-with-a-name-of-63-characters-".ljust(63, "x"))
    for _ in range(MAX_SAMPLES + 10):
        clock.now += 10 * SECOND + 1
        benchmark._sample()
    assert len(benchmark.result()["samples"]) == MAX_SAMPLES
    assert benchmark.result()["samples"][-1]["membytes"] > 1_000_000
    assert len(benchmark.encoded()) <= MAX_BENCHMARK
    assert json.loads(benchmark.encoded()) == benchmark.result()


@pytest.mark.parametrize("data", [b"{", b"[]", b"1", b"{}", b'{"minc": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_benchmark_is_refused(data):
    with pytest.raises(InvalidMessage):
        decode_benchmark(data)


async def test_the_peers_benchmarks_come_first_and_the_own_last(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True, benchmark=True, region="eu")
        await post(root, range(3))
        a = await nodes.start("a", bootstrap=(address(root),), benchmark=True, region="us")
        silent = await nodes.start("silent", bootstrap=(address(root),))
        await eventually(lambda: same(root, a, silent) and number_of_entries(a) == 3)
        await post(root, range(10, 20))
        await eventually(lambda: same(root, a, silent) and number_of_entries(a) == 13)
        found = await root.benchmarks()
        assert [each["region"] for each in found] == ["us", "eu"]
        measured = found[0]
        assert measured == (await a.benchmarks())[-1]
        assert measured["bootstrap"] > 0
        assert 0 < measured["minc"] <= measured["averagec"] <= measured["maxc"] < 20
        with pytest.raises(NotEnabled, match="-benchmark"):
            await silent.benchmarks()
        a.write_benchmark()
        assert json.loads((tmp_path / "a" / "repo_benchmark").read_text())["region"] == "us"


async def test_a_peer_whose_benchmark_is_none_is_left_out(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True, benchmark=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))

        async def nonsense(stream):
            await stream.write_frame(b"nonsense")

        a.host.handle(BENCHMARK_PROTOCOL, nonsense)
        assert len(await root.benchmarks()) == 1
