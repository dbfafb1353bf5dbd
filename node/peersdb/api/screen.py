"""The shell's answers on a terminal: tables, and a bar while a large file is on its way.

Names and regions are what peers chose: they are shown as one harmless line each. What draws runs in a worker
thread, since a long table takes its time and a terminal may be stopped (Ctrl-S).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from peersdb.api.answers import HELP, Answers, opened
from peersdb.api.commands import ONLY_VALID
from peersdb.core.cid import ipfs_path, parse_path
from peersdb.terminal.progress import progress
from peersdb.terminal.text import binary_size, printable, short_id, short_time

#: Contributions drawn at once: a table of more takes noticeable time and memory.
PAGE = 500
#: A name's characters in a table at most; names may have 255.
NAME_WIDTH = 48
#: No table is wider, whatever is in it.
MAX_WIDTH = 400

Row = dict[str, Any]


class Screen(Answers):
    """Runs commands and draws what they answer."""

    async def help(self) -> None:
        """Lists the commands."""
        table = _table("COMMAND", "WHAT IT DOES")
        for name, text in HELP:
            _add(table, name, text)
        await _draw(table)

    async def peers(self, peers: Sequence[dict[str, Any]]) -> None:
        """Lists the connected peers."""
        table = _table("PEER ID", "REGION", "ROLE")
        for peer in peers:
            _add(table, peer["peerId"], peer["region"], "root" if peer["root"] else "peer")
        await self._list(table)

    async def status(self, status: dict[str, Any]) -> None:
        """Shows the node's state."""
        table = _table()
        for name, value in _facts(status):
            _add(table, Text(name, "bold"), value)
        await _draw(table)

    async def post(self, args: list[str]) -> None:
        """Shares a file."""
        async with opened(args) as file:
            with progress(file.name, file.size or None, sys.stdout) as passed:
                path, size = await file.share(self._commands, passed)
        self._out(f"File uploaded: {path} ({binary_size(size)})")

    async def get(self, path: str, *options: str) -> None:
        """Fetches a file."""
        contributions = self._commands.node.contributions
        rows, _ = await contributions.arrivals(0, 1, path)
        size = rows[0].size if rows else None
        name = (rows[0].name if rows else None) or ipfs_path(parse_path(path))
        with progress(name, size, sys.stdout) as passed:
            found, target = await contributions.get(path, passed, only_valid=ONLY_VALID in options)
        self._out(f"stored {found} successfully under {target}")

    async def query(self, *options: str) -> None:
        """Lists contributions in the order they came to this node, the newest last."""
        if options:
            found = await self._commands.query(*options)
            await self._list(_contributions(found["contributions"]))
            self._out(f"cursor for since=: {found['cursor']}")
            return
        last, shown = 0, 0
        while shown % PAGE == 0:
            page = await self._commands.query(f"since={last}", f"limit={PAGE}")
            rows, last = page["contributions"], int(page["cursor"])
            if not rows:
                break
            await _draw(_contributions(rows, heading=not shown))
            shown += len(rows)
        if not shown:
            self._out("(none)")

    async def result(self, name: str, result: Any) -> None:
        """Shows what another command gave."""
        if name in ("isvalid", "validate"):
            valid = Text("yes", "green") if result["isValid"] else Text("no", "red")
            votes = result["voteCnt"] or "judged here"
            table = _table("PATH", "VALID", "VOTES")
            _add(table, result["path"], valid, votes)
            await _draw(table)
            if result["reason"]:
                self._out(result["reason"])
        else:
            await super().result(name, result)

    async def _list(self, table: Table) -> None:
        if table.row_count:
            await _draw(table)
        else:
            self._out("(none)")


def _contributions(rows: Iterable[Row], *, heading: bool = True) -> Table:
    """A table of contributions; one that goes on has no heading."""
    table = _table()
    table.show_header = heading
    # What the widest cells take, so that the pages of a long list are as one.
    for title, width in (("PATH", 65), ("CONTRIBUTOR", 11), ("TIME (UTC)", 19), ("SIZE", 10), ("NAME", 4)):
        table.add_column(title, no_wrap=True, min_width=width, justify="right" if title == "SIZE" else "left")
    for row in rows:
        _add(
            table,
            row["path"],
            short_id(row["contributor"]),
            short_time(row["creationTS"]),
            binary_size(row["size"]),
            _shortened(printable(row["name"])),
        )
    return table


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"


def _facts(status: dict[str, Any]) -> list[tuple[str, Any]]:
    process, pins, damage = status["process"], status["pins"], status["damage"]
    return [
        ("peer id", status["peerId"]),
        ("version", status["version"]),
        ("region", status["region"] or "(none)"),
        ("root", _yes(status["root"])),
        ("full replica", _yes(status["fullReplica"])),
        ("ready", _yes(status["ready"])),
        ("store", status["storeAddress"] or "(none yet)"),
        ("private network", status["swarmKey"] or "no"),
        ("entries", f"{status['entries']}, {status['pending']} waiting for their parents"),
        ("heads", status["heads"]),
        ("fingerprint", status["fingerprint"]),
        ("peers", f"{len(status['peers'])} connected, {status['members']} known"),
        ("files", f"{pins['pinned']} kept, {pins['wanted']} still to fetch"),
        *(
            [("damage", f"{damage['state']}, {damage['missing']} entries missing: {damage['kept']}")]
            if damage
            else []
        ),
        ("memory", binary_size(process["memBytes"])),
        ("uptime", f"{process['uptimeSeconds']:.0f} s"),
        *(("address", address) for address in status["addrs"]),
    ]


def _yes(value: bool) -> Text:
    return Text("yes", "green") if value else Text("no", "dim")


def _table(*heading: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_header=bool(heading), pad_edge=False, show_edge=False)
    for title in heading:
        table.add_column(title, no_wrap=True)
    return table


def _add(table: Table, *cells: Any) -> None:
    table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in cells))


async def _draw(table: Table) -> None:
    """Prints a table as wide as its cells, so that a narrow terminal never cuts a path."""

    def draw() -> None:
        Console(file=sys.stdout, width=MAX_WIDTH, highlight=False).print(table)

    await trio.to_thread.run_sync(draw, abandon_on_cancel=True)
