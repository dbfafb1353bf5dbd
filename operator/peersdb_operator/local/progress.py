"""What a user sees: the members while they come up, and the status as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from peersdb_operator.live import Rewritten
from peersdb_operator.status import condition

_STYLES = {
    "Ready": "green",
    "Starting": "cyan",
    "Retrying": "yellow",
    "BackOff": "red",
    "Stopping": "yellow",
    "Waiting": "dim",
    "Stopped": "dim",
}

View = dict[str, Any]


class Progress(Rewritten):
    """A line for each member: live on a terminal, one more for each change elsewhere."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._said: dict[str, str] = {}

    def show(self, view: View) -> None:
        """Show how the members stand."""
        members = [member for member in view["local"]["members"] if member["state"] != "Stopped"]
        if self.has_place:
            self.draw(_lines(members))
            return
        for member in members:
            state = member["state"]
            if self._said.get(member["name"]) != state:
                self._said[member["name"]] = state
                reason = member.get("reason", "")
                self.console.print(
                    Text(f"{member['name']}: {state}{f' ({reason})' if reason else ''}"), soft_wrap=True
                )


def print_status(console: Console, view: View, *, wide: bool = False) -> None:
    """Print a status for people."""
    status = view["status"]
    title = Text.assemble((view["metadata"]["name"], "bold"), f"  {status['phase']}", f"  {_counts(status)}")
    console.print(title, soft_wrap=True)
    if status.get("storeAddress"):
        console.print(Text(f"store {status['storeAddress']}"), soft_wrap=True)
    for kind, good in (("Ready", "True"), ("RootAvailable", "True"), ("Paused", "False")):
        found = condition(status, kind)
        if found["status"] != good:
            console.print(
                Text(f"{kind}={found['status']} {found['reason']}: {found['message']}"), soft_wrap=True
            )
    if view["local"]["trouble"]:
        console.print(Text(f"trouble: {view['local']['trouble']}"), soft_wrap=True)
    columns = ["MEMBER", "REGION", "STATE", "PID", "HTTP", "P2P", "RESTARTS", "ENTRIES"]
    rows = [Text(name, style="bold") for name in (*columns, *(("LOG", "REASON") if wide else ()))]
    members = [member for member in view["local"]["members"] if wide or member["state"] != "Stopped"]
    _print_columns(console, [rows, *(_cells(member, wide=wide) for member in members)])


def _cells(member: dict[str, Any], *, wide: bool) -> list[Text]:
    cells = [
        Text(member["name"]),
        Text(member.get("region", "-")),
        Text(member["state"], style=_STYLES.get(member["state"], "")),
        *(Text(_cell(member.get(key))) for key in ("pid", "http", "p2p", "restarts", "entries")),
    ]
    return cells + ([Text(_cell(member.get("log"))), Text(member.get("reason", ""))] if wide else [])


def _print_columns(console: Console, rows: list[list[Text]]) -> None:
    """Print columns as wide as they need: an address that is cut or folded cannot be copied."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text()
        for cell, width in zip(row, widths, strict=True):
            cell.pad_right(width + 2 - len(cell))
            line.append_text(cell)
        line.rstrip()
        console.print(line, soft_wrap=True)


def _counts(status: dict[str, Any]) -> str:
    regions = f" ({status['regionSummary']})" if status["regionSummary"] else ""
    return f"{status['readyReplicas']} of {status['replicas']} members ready{regions}"


def _lines(members: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for member in members:
        style = _STYLES.get(member["state"], "")
        table.add_row(
            member["name"],
            Text(member.get("region", ""), style="dim"),
            Text(member["state"], style=style),
            Text(member.get("http", ""), style="dim"),
            Text(member.get("reason", ""), style="dim", overflow="ellipsis", no_wrap=True),
        )
    return table


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
