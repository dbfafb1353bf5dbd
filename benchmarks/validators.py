"""The validators' sandbox: 1,000 CSV files, and what it costs."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import aiohttp
import psutil
import trio

from benchmarks.result import Result
from peersdb.validators.rules import HEAD, Rules
from peersdb.validators.sandbox import Judgement, Sandbox, open_sandbox

FILES = 1000
ROWS = 200
WORKERS = 2
#: Judged before the first look at the memory: all libraries are there by then.
WARM = 100
MIB = 1024 * 1024


async def validators(_session: aiohttp.ClientSession, directory: Path, _entries: int) -> list[Result]:
    """1,000 CSV files of 200 rows, each by size and csv, with the default rules, on two workers."""
    # trio in a thread of its own: the other measures run on asyncio.
    return await asyncio.to_thread(trio.run, _measure, directory)


async def _measure(directory: Path) -> list[Result]:
    files = [_csv(directory / f"{number}.csv", number) for number in range(FILES)]
    rules = Rules.default()
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
    ]


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
