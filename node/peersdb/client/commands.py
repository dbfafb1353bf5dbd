"""What each of the client's commands asks and prints."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast
from urllib.parse import urlencode

from peersdb.client.contributions import Selection, contributions
from peersdb.client.errors import BadAnswer, FileProblem, Refused
from peersdb.client.transport import Answer, Api, Readable
from peersdb.terminal.progress import progress
from peersdb.terminal.text import binary_size, printable, short_id, short_time, table

#: The exit status of `isvalid` for a file that is not valid; 1 is that it is not known.
NOT_VALID = 3
#: Characters of ``/ipfs/<cid>``, the widest there is, for a table whose rows are not known beforehand.
PATH_WIDTH = 65
#: What a contribution's line shows, in this order.
KEYS = ("path", "contributor", "creationTS", "size", "name", "verdict")

Command = Callable[[Api, argparse.Namespace, TextIO], int]


def run(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    """Runs a command and gives the exit status.

    Args:
        api: the node.
        given: the parsed command line.
        out: where the results go; what stands between tells whether it is a terminal.

    Raises:
        Failed: it did not succeed.
        OSError: ``out`` cannot be written.
    """
    command: Command = RUN[given.command]
    return command(api, given, out)


def _post(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    for file in given.files:
        _check_readable(file)  # rather none of them than some
    for file in given.files:
        name = given.name if given.name is not None else None if file == "-" else os.path.basename(file)  # noqa: PTH119
        # A name that is no UTF-8 (Python keeps its bytes as lone surrogates) is shared as far as it is.
        query = f"?{urlencode({'name': os.fsencode(name).decode(errors='replace')})}" if name else ""
        with _opened(file) as (source, size), progress(name or "standard input", size, sys.stderr) as sent:
            answer = api.upload(f"/peersdb/files{query}", source, size, sent)
        if not isinstance(answer, dict) or not isinstance(answer.get("path"), str):
            raise _other_version()
        out.write(f"{printable(answer['path'])}\n")
        out.flush()  # each file is shared by itself, whatever becomes of the next
    return 0


def _check_readable(file: str) -> None:
    if file == "-":
        if sys.stdin is None:  # as `peersdb post - <&-` has it
            raise FileProblem("cannot read the standard input: it is closed")
        return
    try:
        if stat.S_ISDIR(os.stat(file).st_mode):  # noqa: PTH116 - pathlib costs the start 5 ms
            raise FileProblem(f"{file} is a directory: share files, or pack it (tar)")
        if not os.access(file, os.R_OK):
            raise FileProblem(f"cannot read {file}: Permission denied")
    except (OSError, ValueError) as error:
        raise FileProblem(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[Readable, int | None]]:
    """A file and its size, which is None where only reading it tells."""
    if file == "-":
        yield cast("Readable", getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)), None
        return
    try:
        source = open(file, "rb", buffering=0)  # noqa: PTH123, SIM115 - closed below; no pathlib at the start
    except OSError as error:
        raise FileProblem(f"cannot read {file}: {error.strerror}") from None
    with source:
        about = os.fstat(source.fileno())
        # A pipe has no size, and the kernel's own files (/proc) say 0.
        known = stat.S_ISREG(about.st_mode) and about.st_size > 0
        yield source, about.st_size if known else None


def _get(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    options = ["only-valid"] if given.only_valid else []
    with api.command("get", given.path, *options, patient=True) as answer:
        text = _text(answer)
    found = re.fullmatch(r"stored \S+ successfully under (.+)", text, re.DOTALL)
    out.write(f"{printable(found[1] if found else text)}\n")
    return 0


def _connect(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    with api.command("connect", given.address) as answer:
        out.write(f"{printable(_text(answer))}\n")
    return 0


def _query(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    wanted = Selection(given.path, given.since, given.limit, given.verdict)
    if given.json:
        # Without a bound, the original's answer.
        with api.command("query", *wanted.arguments()) as answer:
            _copy(answer.chunks(), out)
        return 0
    rows = (tuple(row.get(key) for key in KEYS) for row in contributions(api, wanted))
    if not out.isatty():
        out.writelines("\t".join(map(printable, row)) + "\n" for row in rows)
        return 0
    heading = ("PATH", "CONTRIBUTOR", "TIME (UTC)", "SIZE", "VERDICT", "NAME")
    shown = (
        (
            printable(path),
            short_id(who),
            short_time(when),
            binary_size(size),
            printable(verdict),
            printable(name),
        )
        for path, who, when, size, name, verdict in rows
    )
    out.writelines(
        f"{path:<{PATH_WIDTH}}  {who:<11}  {when:<19}  {size:>10}  {verdict:<7}  {name}".rstrip() + "\n"
        for path, who, when, size, verdict, name in itertools.chain([heading], shown)
    )
    return 0


def _status(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    status = _object(api, "/peersdb/status")
    if given.json:
        return _print_json(status, out)
    process, pins = _part(status, "process"), _part(status, "pins")
    lines = [
        ("peer id", status.get("peerId")),
        ("version", status.get("version")),
        ("region", status.get("region") or "(none)"),
        ("root", _yes(status.get("root"))),
        ("full replica", _yes(status.get("fullReplica"))),
        ("ready", _yes(status.get("ready"))),
        ("store", status.get("storeAddress") or "(none yet)"),
        ("entries", status.get("entries")),
        ("heads", status.get("heads")),
        ("fingerprint", status.get("fingerprint")),
        ("peers", len(_list(status, "peers"))),
        ("files", f"{pins.get('pinned')} kept, {pins.get('wanted')} still to fetch"),
        ("memory", binary_size(process.get("memBytes"))),
        ("uptime", f"{process.get('uptimeSeconds')} s"),
        *(("address", address) for address in _list(status, "addrs")),
    ]
    out.writelines(f"{name:<12}  {printable(value)}\n" for name, value in lines)
    return 0


def _peers(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    peers = _list(_object(api, "/peersdb/status"), "peers")
    if given.json:
        return _print_json(peers, out)
    rows = [
        (p.get("peerId"), p.get("region"), "root" if p.get("root") else "peer") for p in map(_dict, peers)
    ]
    return _print_rows(("PEER ID", "REGION", "ROLE"), rows, out)


def _benchmark(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    with api.command("benchmark") as answer:
        document = answer.document()
    if isinstance(document, str):
        # The original's answer to a node without it, with 200; here it is a failure as any other.
        raise Refused(printable(document), "not_enabled")
    if given.json:
        return _print_json(document, out)
    return _print_rows(MEASURED, [_measured(document)], out)


def _benchmarks(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    with api.get("/peersdb/benchmarks") as answer:
        document = answer.document()
    if not isinstance(document, list):
        raise _other_version()
    if given.json:
        return _print_json(document, out)
    return _print_rows(MEASURED, [_measured(one) for one in document], out)


def _isvalid(api: Api, given: argparse.Namespace, out: TextIO) -> int:
    with api.command(given.command, given.path, patient=True) as answer:
        document = _dict(answer.document())
    valid = document.get("isValid")
    if not isinstance(valid, bool):
        raise _other_version()
    if given.json:
        _print_json(document, out)
    else:
        votes = printable(document.get("voteCnt"))
        reason = f": {printable(document['reason'])}" if document.get("reason") else ""
        out.write(
            f"{'valid' if valid else 'not valid'} ({votes} vote{'' if votes == '1' else 's'}){reason}\n"
        )
    return 0 if valid else NOT_VALID


RUN: dict[str, Command] = {
    "post": _post,
    "get": _get,
    "query": _query,
    "connect": _connect,
    "status": _status,
    "peers": _peers,
    "isvalid": _isvalid,
    "validate": _isvalid,
    "benchmark": _benchmark,
    "benchmarks": _benchmarks,
}

#: The columns of a benchmark: seconds, but for the last two.
MEASURED = ("REGION", "BOOTSTRAP", "REPLICATION", "LEAST", "MOST", "MEMORY", "CPU %")


def _measured(document: Any) -> tuple[Any, ...]:
    one = _dict(document)
    samples = one.get("samples")
    last = _dict(samples[-1]) if isinstance(samples, list) and samples else {}
    seconds = [one.get(key) for key in ("bootstrap", "averagec", "minc", "maxc")]
    shown = [f"{value:.3f}" if isinstance(value, int | float) else value for value in seconds]
    return one.get("region"), *shown, binary_size(last.get("membytes")), last.get("cpupercent")


# --- printing ------------------------------------------------------------------------------------------


def _print_rows(heading: tuple[str, ...], rows: list[tuple[Any, ...]], out: TextIO) -> int:
    """A table with its heading on a terminal, else the rows with tabs between."""
    cells = [[printable(cell) for cell in row] for row in rows]
    lines = table([heading, *cells]) if out.isatty() else ["\t".join(row) for row in cells]
    out.writelines(f"{line}\n" for line in lines)
    return 0


def _print_json(document: Any, out: TextIO) -> int:
    """Indented on a terminal, else in one line; ASCII, so that nothing in it steers a terminal."""
    text = json.dumps(document, indent=2) if out.isatty() else json.dumps(document, separators=(",", ":"))
    out.write(f"{text}\n")
    return 0


def _copy(chunks: Iterable[bytes], out: TextIO) -> None:
    """The bytes as they came, and a line end."""
    out.flush()
    for chunk in chunks:
        out.buffer.write(chunk)
    out.buffer.write(b"\n")


# --- answers as they should be ---------------------------------------------------------------------------


def _text(answer: Answer) -> str:
    document = answer.document()
    if not isinstance(document, str):
        raise _other_version()
    return document


def _object(api: Api, path: str) -> dict[str, Any]:
    with api.get(path) as answer:
        return _dict(answer.document())


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _other_version()
    return value


def _part(document: dict[str, Any], key: str) -> dict[str, Any]:
    return _dict(document.get(key, {}))


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise _other_version()
    return value


def _yes(value: object) -> str:
    return "yes" if value is True else "no"


def _other_version() -> BadAnswer:
    return BadAnswer("the node's answer is not what this client knows: are both of the same version?")
