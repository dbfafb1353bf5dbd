"""``python -m benchmarks``: runs the measures, prints a table, writes JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from benchmarks.measures import MEASURES
from benchmarks.result import Result

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
    args = parser.parse_args()
    unknown = set(args.measures) - MEASURES.keys()
    if unknown:
        parser.error(f"no measure {', '.join(sorted(unknown))}: there are {', '.join(MEASURES)}")
    results = asyncio.run(_run(args.measures or list(MEASURES), args.entries))
    _print(results)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / time.strftime("%Y%m%dT%H%M%S.json")
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    target.write_text(
        json.dumps({"machine": machine, "results": [r.as_dict() for r in results]}, indent=1) + "\n"
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


def _print(results: list[Result]) -> None:
    table = Table("measure", "value", "target", "", "rivals", title="peersdb benchmarks")
    for row in results:
        target = (
            ""
            if row.target is None
            else f"{'≥' if row.better == 'higher' else '≤'} {row.target:,.4g} {row.unit}"
        )
        verdict = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[row.met]
        table.add_row(row.what, f"{row.value:,.4g} {row.unit}", target, verdict, row.rival)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
