"""What the flags are, in words: the help text and the page ``docs/flags.md``, made from the fields of `Settings`."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

from peersdb.settings import Settings


def usage() -> str:
    """The help text, made from the fields of `Settings`."""
    lines = [
        "peersdb - a peer-to-peer database for sharing datasets",
        "",
        "  peersdb -root -http -shell                         a first node, with its store",
        "  peersdb -http -http-port 8081 -ipfs-port 4002 \\",
        "          -repo peersdb2 -bootstrap 127.0.0.1        a second one, which joins it",
        "",
        "  peersdb post|get|query|connect|status|peers|isvalid|validate|benchmark|benchmarks ...",
        "                                                     ask a node that runs; peersdb post --help shows how",
        "",
        "Flags (-flag value, -flag=value, or with two dashes; or the variable PEERSDB_<FLAG>):",
    ]
    group = ""
    for f in fields(Settings):
        if f.metadata["group"] != group:
            group = f.metadata["group"]
            lines += ["", f"{group}:"]
        default = _default(f)
        shown = f" (default {default})" if default else ""
        lines.append(f"  {_shown(f):<26} {f.metadata['text']}{shown}")
    return "\n".join(lines)


def flags_page() -> str:
    """The page ``docs/flags.md``, made from the fields of `Settings`."""
    lines = [
        "# The flags",
        "",
        "<!-- Made from node/peersdb/settings.py by scripts/flags.py; a test says when it is out of date. -->",
        "",
        "`-flag value`, `-flag=value` and the same with two dashes mean the same. A flag without a value is true; a",
        "boolean takes its value by `=` alone (`-root=false`). A list is separated by commas, and its flag may be",
        "given several times. Each flag can come from the environment instead; the flag wins, then `PEERSDB_…`, then",
        "the variable that the original's container reads. A wrong flag is named in one line, with exit status 2.",
        "",
        "| flag | what it does | default | environment |",
        "|---|---|---|---|",
    ]
    for f in fields(Settings):
        variables = [f"PEERSDB_{f.name.upper()}", *filter(None, [f.metadata["env"]])]
        default = _default(f)
        cells = [
            f"`{_shown(f)}`",
            f.metadata["text"].replace("|", "\\|"),
            f"`{default}`" if default else "",
            ", ".join(f"`{variable}`" for variable in variables),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "`-help` lists them, `-version` tells the version; both end at once.", ""]
    return "\n".join(lines)


def _shown(f: Field[Any]) -> str:
    return f"-{f.name.replace('_', '-')} {f.metadata['arg']}".rstrip()


def _default(f: Field[Any]) -> str:
    """The default as it is typed; empty for what is off or empty."""
    value: Any = f.default
    if isinstance(value, tuple):
        value = ",".join(value)
    if value is False:
        return ""
    return "true" if value is True else str(value)
