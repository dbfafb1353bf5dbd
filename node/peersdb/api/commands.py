"""The commands that HTTP and the shell have in common, with the original's answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from peersdb.core.contribution import format_timestamp
from peersdb.core.quorum import Tally
from peersdb.errors import BadRequest, UnknownCommand
from peersdb.service.node import Node
from peersdb.service.validation import Answer

#: The original's answer to `post`.
POSTED = "File uploaded"
#: What `query` can be asked beside all.
QUERY_OPTIONS = ("path", "since", "limit", "verdict")
#: The option of `get`.
ONLY_VALID = "only-valid"
#: What `query verdict=` can be; the last is what is neither.
VERDICTS = ("valid", "invalid", "unknown")
#: Contributions of one answer with options: by default, and at most (a few MiB of JSON).
QUERY_LIMIT = 1000
MAX_QUERY_LIMIT = 10_000


@dataclass(frozen=True)
class Command:
    """One command of ``POST /peersdb/command``.

    Attributes:
        name: its ``cmd``.
        arguments: what it takes, for messages and help.
        text: what it does.
        run: runs it on the trio side with the checked arguments.
    """

    name: str
    arguments: tuple[str, ...]
    text: str
    run: Callable[..., Awaitable[Any]]


class Commands:
    """The commands of one node; all methods run on the trio side."""

    def __init__(self, node: Node) -> None:
        """Commands for ``node``."""
        self.node = node
        commands = (
            Command("post", ("file",), "share a file", self.post),
            Command("get", ("path",), "fetch a file by its path (/ipfs/<cid>)", self.get),
            Command("connect", ("multiaddr",), "connect to a peer", self.connect),
            Command("query", (), "list all contributions, or those asked for by options", self.query),
            Command(
                "isvalid",
                ("path",),
                "whether a file is valid: own record, else votes, else checked here",
                self.is_valid,
            ),
            Command("validate", ("path",), "run the validators on a file here, now", self.validate),
            Command("benchmark", (), "this node's benchmark", self.benchmark),
        )
        self.by_name = {command.name: command for command in commands}

    def find(self, name: object) -> Command:
        """The command of this name.

        Raises:
            UnknownCommand: there is none.
        """
        command = self.by_name.get(name) if isinstance(name, str) else None
        if command is None:
            raise UnknownCommand(f"unknown command {name!r}: there are {', '.join(self.by_name)}")
        return command

    async def post(self, content: bytes, name: str | None = None) -> str:
        """Shares a file."""
        await self.node.contributions.post(content, name)
        return POSTED

    async def get(self, path: str, *options: str) -> str:
        """Fetches a file into the download directory; with `ONLY_VALID` after the path, if it is valid."""
        found, target = await self.node.contributions.get(path, only_valid=ONLY_VALID in options)
        return f"stored {found} successfully under {target}"

    async def connect(self, address: str) -> str:
        """Connects to a peer."""
        await self.node.connect(address)
        return "Peer id processed"

    async def query(self, *options: str) -> Any:
        """All contributions in the log's order, as the original answers; HTTP streams these page by page.

        With options (``path=``, ``since=``, ``limit=``, ``verdict=``): in the order they came to this node, with the
        verdict on each as far as it is known here, and a cursor for ``since``, by which a client asks for what came
        later. ``limit`` counts before ``verdict`` is looked at.
        """
        if options:
            return await self._query_options(options)
        rows, cursor = await self.node.contributions.page()
        found = [row_document(row) for row in rows]
        while cursor is not None:
            rows, cursor = await self.node.contributions.page(cursor)
            found += [row_document(row) for row in rows]
        return found

    async def _query_options(self, options: Sequence[str]) -> dict[str, Any]:
        asked = {"since": "0", "limit": str(QUERY_LIMIT)}
        for option in options:
            name, _, value = option.partition("=")
            if name not in QUERY_OPTIONS or not value:
                raise BadRequest(
                    f"query takes path=PATH, since=CURSOR, limit=N and verdict=VERDICT: not {option[:80]!r}"
                )
            asked[name] = value
        numbers = {name: asked[name] for name in ("since", "limit")}
        for name, text in numbers.items():
            if not re.fullmatch("[0-9]{1,18}", text):
                raise BadRequest(f"query: {name} is a whole number, not {text[:80]!r}")
        limit = int(asked["limit"])
        if not 1 <= limit <= MAX_QUERY_LIMIT:
            raise BadRequest(f"query: limit is 1 to {MAX_QUERY_LIMIT}")
        wanted = asked.get("verdict", "")
        if wanted and wanted not in VERDICTS:
            raise BadRequest(f"query: verdict is one of {', '.join(VERDICTS)}, not {wanted[:80]!r}")
        found, last = await self.node.contributions.judged(int(asked["since"]), limit, asked.get("path"))
        tallies = {tally: tally_document(tally) for tally in {one.tally for one in found}}
        documents = [
            {
                "path": path,
                "contributor": contributor,
                "creationTS": created,
                "name": name,
                "size": size,
                "verdict": verdict or "unknown",
                "tally": tallies[tally],
            }
            for (path, contributor, created, name, size), verdict, tally in found
            if wanted in ("", verdict if verdict in VERDICTS else "unknown")
        ]
        return {"contributions": documents, "cursor": str(last)}

    async def is_valid(self, path: str) -> dict[str, Any]:
        """Whether a file is valid: the original's validation document, and who says so."""
        return validity_document(await self.node.contributions.is_valid(path))

    async def validate(self, path: str) -> dict[str, Any]:
        """Runs the validators on a file here and now; the same answer."""
        return validity_document(await self.node.contributions.validate(path))

    async def benchmark(self) -> Any:
        """This node's benchmark."""
        result = self.node.benchmark()
        return "Benchmark is not enabled, use -benchmark to do so" if result is None else result


def validity_document(answer: Answer) -> dict[str, Any]:
    """The original's three keys, then who decided and who says what by which validators."""
    record, tally = answer.record, answer.tally
    return {
        "path": record.path,
        "isValid": record.valid,
        "voteCnt": record.votes,
        "verdict": record.verdict,
        "decidedBy": answer.decided_by,
        "reason": record.reason,
        "tally": tally_document(tally),
        "votes": [
            {
                "voter": said.peer,
                "verdict": said.verdict,
                "validators": {vote.validator: vote.verdict for vote in said.votes},
                "at": format_timestamp(said.ts),
            }
            for said in answer.said
        ],
    }


def tally_document(tally: Tally) -> dict[str, int]:
    """What the electorate says of a file, by weight."""
    return {
        "valid": tally.valid,
        "invalid": tally.invalid,
        "other": tally.other,
        "silent": tally.silent,
        "voters": tally.voters,
    }


def row_document(row: Any) -> dict[str, str]:
    """One contribution as `query` answers it, keys in the original's order."""
    return {"path": row.path, "contributor": row.contributor, "creationTS": row.created}


def check_arguments(command: Command, args: Sequence[object]) -> list[str]:
    """The arguments of a command, if they fit it.

    Raises:
        BadRequest: they do not.
    """
    if (
        command.name == "query"
        and all(isinstance(arg, str) for arg in args)
        and len(args) <= len(QUERY_OPTIONS)
    ):
        return [str(arg) for arg in args]
    if command.name == "get" and len(args) == 2 and isinstance(args[0], str) and args[1] == ONLY_VALID:
        return [args[0], ONLY_VALID]
    wanted = [name for name in command.arguments if name != "file"]
    if len(args) != len(wanted) or not all(isinstance(arg, str) for arg in args):
        takes = f"one argument, the {wanted[0]}" if wanted else "no arguments"
        raise BadRequest(f"{command.name} takes {takes}: {len(args)} given")
    return [str(arg) for arg in args]
