"""The shell's answers as lines of text: what a pipe gets. `screen` draws them for a person."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import trio

from peersdb.api.commands import Commands, check_arguments
from peersdb.errors import BadRequest

#: A file that is shared is read in pieces of this size (bytes), one chunk of the default profile.
PIECE = 1024 * 1024

#: What each command does. A pipe's `help` shows those that it always has.
HELP = (
    ("post <file>", "share a file"),
    ("get <path>", "fetch a file by its path (/ipfs/<cid>) into the download directory"),
    ("query", "list all contributions"),
    ("connect <addr>", "connect to a peer (/ip4/…/tcp/…/p2p/<peer id>)"),
    ("peers", "the peers this node is connected to"),
    ("status", "this node's state"),
    ("isvalid <path>", "whether a file is valid, and by how many votes"),
    ("validate <path>", "run the validators on a file here, now"),
    ("benchmark", "this node's benchmark"),
    ("help", "this list"),
    ("exit", "stop the node"),
)

Passed = Callable[[int], None]


class Answers:
    """Runs commands and prints what they answer."""

    def __init__(self, commands: Commands, out: Callable[[str], None]) -> None:
        """Answers by ``out``, one call an answer."""
        self._commands, self._out = commands, out

    async def give(self, name: str, args: list[str]) -> None:
        """Runs one command and prints its answer.

        Raises:
            PeersDBError: it failed; nothing was printed.
        """
        if name == "help":
            await self.help()
        elif name == "peers":
            await self.peers((await self._commands.node.status())["peers"])
        elif name == "status":
            await self.status(await self._commands.node.status())
        elif name == "post":
            await self.post(args)
        else:
            arguments = check_arguments(self._commands.find(name), args)
            if name == "get":
                await self.get(*arguments)
            elif name == "query":
                await self.query(*arguments)
            else:
                await self.result(name, await self._commands.find(name).run(*arguments))

    async def help(self) -> None:
        """Lists the commands."""
        self._out(
            "\n".join(
                f"{name:<17} {text}" for name, text in HELP if not name.startswith(("isvalid", "validate"))
            )
        )

    async def peers(self, peers: Sequence[dict[str, Any]]) -> None:
        """Lists the connected peers."""
        self._out(_table([[p["peerId"], p["region"], "root" if p["root"] else ""] for p in peers]))

    async def status(self, status: dict[str, Any]) -> None:
        """Shows the node's state."""
        self._out(json.dumps(status, indent=2, ensure_ascii=False))

    async def post(self, args: list[str]) -> None:
        """Shares a file."""
        async with opened(args) as file:
            await file.share(self._commands)
        self._out("File uploaded")

    async def get(self, path: str, *options: str) -> None:
        """Fetches a file."""
        self._out(await self._commands.get(path, *options))

    async def query(self, *options: str) -> None:
        """Lists contributions."""
        found = await self._commands.query(*options)
        rows = found["contributions"] if options else found
        self._out(_table([[row["path"], row["contributor"], row["creationTS"]] for row in rows]))

    async def result(self, _name: str, result: Any) -> None:
        """Shows what another command gave."""
        self._out(result if isinstance(result, str) else json.dumps(result, indent=2))


class Upload:
    """A file that is open to be shared.

    Attributes:
        name: without its directory.
        size: bytes, as far as they are known before it was read; 0 for a pipe.
    """

    def __init__(self, file: Any, shown: str, name: str, size: int) -> None:
        """Reads from ``file``, which errors call ``shown``."""
        self._file, self._shown = file, shown
        self.name, self.size = name, size

    async def share(self, commands: Commands, passed: Passed = lambda _count: None) -> tuple[str, int]:
        """Shares it, piece by piece, telling the bytes of each; gives its path and its size.

        Raises:
            PeersDBError: it cannot be read, or not be shared.
        """
        contributions = commands.node.contributions
        first = await self._read()
        if len(first) < PIECE:
            return await contributions.post(first, self.name), len(first)
        async with aclosing(self._pieces(first, passed)) as pieces:
            return await contributions.post_stream(pieces, self.name)

    async def _pieces(self, data: bytes, passed: Passed) -> AsyncGenerator[bytes, None]:
        while data:
            yield data
            passed(len(data))
            data = await self._read()

    async def _read(self) -> bytes:
        try:
            data: bytes = await self._file.read(PIECE)
        except OSError as error:
            raise BadRequest(f"cannot read {self._shown}: {error.strerror}") from error
        return data


@asynccontextmanager
async def opened(args: list[str]) -> AsyncIterator[Upload]:
    """The file that `post` names.

    Raises:
        BadRequest: the arguments are not one file that can be read.
    """
    if len(args) != 1:
        raise BadRequest(f"post takes one argument, the file: {len(args)} given")
    try:
        path = await trio.Path(args[0]).expanduser()
        file = await path.open("rb")
        size = (await path.stat()).st_size
    except (OSError, RuntimeError, ValueError) as error:
        raise BadRequest(f"cannot read {args[0]}: {getattr(error, 'strerror', None) or error}") from error
    async with file:
        yield Upload(file, args[0], path.name, size)


def _table(rows: list[list[str]]) -> str:
    """Aligned columns; an empty list says so."""
    if not rows:
        return "(none)"
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
