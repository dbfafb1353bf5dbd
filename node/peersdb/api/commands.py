"""The commands that HTTP and the shell have in common, with the original's answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from peersdb.errors import BadRequest, UnknownCommand
from peersdb.service.node import Node

#: The original's answer to `post`.
POSTED = "File uploaded"
#: What `query` can be asked beside all.
QUERY_OPTIONS = ("path", "since", "limit")
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

    async def get(self, path: str) -> str:
        """Fetches a file into the download directory."""
        found, target = await self.node.contributions.get(path)
        return f"stored {found} successfully under {target}"

    async def connect(self, address: str) -> str:
        """Connects to a peer."""
        await self.node.connect(address)
        return "Peer id processed"

    async def query(self, *options: str) -> Any:
        """All contributions in the log's order, as the original answers; HTTP streams these page by page.

        With options (``path=``, ``since=``, ``limit=``): in the order they came to this node, with a cursor for
        ``since``, by which a client asks for what came later.
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
                raise BadRequest(f"query takes path=PATH, since=CURSOR and limit=N: not {option[:80]!r}")
            asked[name] = value
        numbers = {name: asked[name] for name in ("since", "limit")}
        for name, text in numbers.items():
            if not re.fullmatch("[0-9]{1,18}", text):
                raise BadRequest(f"query: {name} is a whole number, not {text[:80]!r}")
        limit = int(asked["limit"])
        if not 1 <= limit <= MAX_QUERY_LIMIT:
            raise BadRequest(f"query: limit is 1 to {MAX_QUERY_LIMIT}")
        rows, last = await self.node.contributions.arrivals(int(asked["since"]), limit, asked.get("path"))
        documents = [{**row_document(row), "name": row.name, "size": row.size} for row in rows]
        return {"contributions": documents, "cursor": str(last)}

    async def is_valid(self, path: str) -> dict[str, Any]:
        """The original's validation document."""
        record = await self.node.contributions.is_valid(path)
        return {"path": record.path, "isValid": record.valid, "voteCnt": record.votes}

    async def benchmark(self) -> Any:
        """This node's benchmark."""
        result = self.node.benchmark()
        return "Benchmark is not enabled, use -benchmark to do so" if result is None else result


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
    wanted = [name for name in command.arguments if name != "file"]
    if len(args) != len(wanted) or not all(isinstance(arg, str) for arg in args):
        takes = f"one argument, the {wanted[0]}" if wanted else "no arguments"
        raise BadRequest(f"{command.name} takes {takes}: {len(args)} given")
    return [str(arg) for arg in args]
