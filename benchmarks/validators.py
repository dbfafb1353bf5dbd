"""The validators' sandbox: 1,000 CSV files, and what it costs."""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from pathlib import Path

import aiohttp
import psutil
import trio

from benchmarks.result import Result
from peersdb.validators.rules import HEAD, Check, Rules
from peersdb.validators.sandbox import Judgement, Sandbox, open_sandbox

FILES = 1000
ROWS = 200
WORKERS = 2
#: Judged before the first look at the memory: all libraries are there by then.
WARM = 100
MIB = 1024 * 1024
#: A turn of the loop is asked for so often (seconds), so many times.
TURN, TURNS = 0.005, 400
LOOPS = "def check(file, options):\n    while True:\n        pass\n"


async def validators(_session: aiohttp.ClientSession, directory: Path, _entries: int) -> list[Result]:
    """1,000 CSV files of 200 rows, each by size and csv, with the default rules, on two workers."""
    # trio in a thread of its own: the other measures run on asyncio.
    return await asyncio.to_thread(trio.run, _measure, directory)


async def _measure(directory: Path) -> list[Result]:
    files = [_csv(directory / f"{number}.csv", number) for number in range(FILES)]
    rules = Rules.default()
    sys.path.append(str(directory))  # where the fork server looks for the validator that never ends
    async with open_sandbox(scratch=directory / "scratch", workers=WORKERS) as sandbox:
        began = time.perf_counter()
        await _judge(sandbox, rules, files[0])
        start = time.perf_counter() - began
        before, peak = 0, 0
        began = time.perf_counter()
        queue = iter(enumerate(files))

        async def work() -> None:
            nonlocal before, peak
            for number, path in queue:
                await _judge(sandbox, rules, path)
                if number == WARM:
                    before = _memory(sandbox)
                if number > WARM and number % 50 == 0:
                    peak = max(peak, _memory(sandbox))

        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(work)
        seconds = time.perf_counter() - began
        alone, beside = await _lateness(sandbox, files[0])
    return [
        Result("CSV files validated a second, 2 workers", FILES / seconds, "files/s", 20, "higher", ""),
        Result(
            "the fork server's memory grows, from file 100 to 1,000",
            (peak - before) / MIB,
            "MiB",
            4,
            "lower",
            "",
        ),
        Result("the fork server's own memory", peak / MIB, "MiB", None, "lower", ""),
        Result("first judgement, with the start of the fork server", start, "s", None, "lower", ""),
        Result(
            "a turn of the node's loop is late, p99, nothing is judged", alone * 1000, "ms", None, "lower", ""
        ),
        Result("the same while two validators loop", beside * 1000, "ms", None, "lower", ""),
    ]


async def _lateness(sandbox: Sandbox, path: Path) -> tuple[float, float]:
    """How late the loop is (p99, seconds): alone, and while validators that never end have both workers."""
    (path.parent / "never_ends.py").write_text(LOOPS)
    check = Check("never-ends/1", bytes(32), "never_ends:check", builtin=False, options={})
    alone = await _late()
    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(sandbox.run, check, path)
        await trio.sleep(0.5)
        beside = await _late()
        nursery.cancel_scope.cancel()
    return alone, beside


async def _late() -> float:
    found = []
    for _ in range(TURNS):
        due = time.perf_counter() + TURN
        await trio.sleep(TURN)
        found.append(time.perf_counter() - due)
    return statistics.quantiles(found, n=100)[-1]


async def _judge(sandbox: Sandbox, rules: Rules, path: Path) -> list[Judgement]:
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    judgements = [await sandbox.run(check, path) for check in rules.for_file("", head)]
    if [item.validator for item in judgements] != ["size/1", "csv/1"] or {
        item.verdict for item in judgements
    } != {"valid"}:
        raise RuntimeError(f"{path}: {judgements}")
    return judgements


def _csv(path: Path, seed: int) -> Path:
    chance = random.Random(seed)  # noqa: S311 - of a measure
    rows = "".join(f"{row},n{chance.randrange(1000)},{chance.random():.6f}\n" for row in range(ROWS))
    path.write_text(f"id,name,score\n{rows}")
    return path


def _memory(sandbox: Sandbox) -> int:
    """The fork server's; its children are forks of it, which share it."""
    return 0 if sandbox.pid is None else int(psutil.Process(sandbox.pid).memory_info().rss)
