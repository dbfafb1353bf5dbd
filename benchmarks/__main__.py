"""``python -m benchmarks``: runs the measures, prints a table, writes JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from benchmarks.measures import MEASURES
from benchmarks.result import Result
from benchmarks.rivals.install import Rival, run_all

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"one of {', '.join(MEASURES)} (default: all)"
    )
    parser.add_argument(
        "--entries", type=int, default=10_000, help="entries of the larger logs (default 10000)"
    )
    parser.add_argument(
        "--rivals",
        action="store_true",
        help="measure iroh and OrbitDB JS in the same run (installs them into a directory that is thrown away)",
    )
    args = parser.parse_args()
    unknown = set(args.measures) - MEASURES.keys()
    if unknown:
        parser.error(f"no measure {', '.join(sorted(unknown))}: there are {', '.join(MEASURES)}")
    results = asyncio.run(_run(args.measures or list(MEASURES), args.entries))
    rivals = _rivals(args.entries) if args.rivals else []
    results = [
        replace(row, same_run={one.name: one.figures[row.key] for one in rivals if row.key in one.figures})
        for row in results
    ]
    _print(results, rivals)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / time.strftime("%Y%m%dT%H%M%S.json")
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    target.write_text(
        json.dumps(
            {
                "machine": machine,
                "results": [row.as_dict() for row in results],
                "rivals": [asdict(one) for one in rivals],
            },
            indent=1,
        )
        + "\n"
    )
    print(f"written: {os.path.relpath(target)}")


async def _run(names: list[str], entries: int) -> list[Result]:
    results: list[Result] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for name in names:
            print(f"{name}: {(MEASURES[name].__doc__ or '').strip()}", flush=True)
            with tempfile.TemporaryDirectory(prefix="peersdb-bench-") as directory:
                results += await MEASURES[name](session, Path(directory), entries)
    return results


def _rivals(entries: int) -> list[Rival]:
    with tempfile.TemporaryDirectory(prefix="peersdb-rivals-") as directory:
        return run_all(Path(directory), entries)


def _print(results: list[Result], rivals: list[Rival]) -> None:
    columns = [
        "measure",
        "value",
        "target",
        "",
        *(f"{one.name}, same run" for one in rivals),
        "rivals, published",
    ]
    table = Table(*columns, title="peersdb benchmarks")
    for row in results:
        target = (
            ""
            if row.target is None
            else f"{'≥' if row.better == 'higher' else '≤'} {row.target:,.4g} {row.unit}"
        )
        verdict = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[row.met]
        beside = (
            f"{row.same_run[one.name]:,.4g} {row.unit}" if one.name in row.same_run else "" for one in rivals
        )
        table.add_row(row.what, f"{row.value:,.4g} {row.unit}", target, verdict, *beside, row.rival)
    Console(width=150 + 20 * len(rivals)).print(table)
    for one in rivals:
        print(f"{one.name} {one.version}: {one.skipped or 'measured in this run, in a network of its own'}")


if __name__ == "__main__":
    main()
