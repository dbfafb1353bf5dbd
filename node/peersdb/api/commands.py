"""The commands that HTTP and the shell have in common, with the original's answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from peersdb.errors import BadRequest, UnknownCommand
from peersdb.service.node import Node


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
            Command("query", (), "list all contributions", self.query),
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
        return "File uploaded"

    async def get(self, path: str) -> str:
        """Fetches a file into the download directory."""
        found, target = await self.node.contributions.get(path)
        return f"stored {found} successfully under {target}"

    async def connect(self, address: str) -> str:
        """Connects to a peer."""
        await self.node.connect(address)
        return "Peer id processed"

    async def query(self) -> list[dict[str, str]]:
        """All contributions at once; HTTP streams them page by page instead."""
        rows, cursor = await self.node.contributions.page()
        found = [row_document(row) for row in rows]
        while cursor is not None:
            rows, cursor = await self.node.contributions.page(cursor)
            found += [row_document(row) for row in rows]
        return found

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
    wanted = [name for name in command.arguments if name != "file"]
    if len(args) != len(wanted) or not all(isinstance(arg, str) for arg in args):
        takes = f"one argument, the {wanted[0]}" if wanted else "no arguments"
        raise BadRequest(f"{command.name} takes {takes}: {len(args)} given")
    return [str(arg) for arg in args]
