"""Typed settings: the flags (in Go's style, as the original has them) and the environment.

This is the only place that reads either. A value comes from, in this order: the flag, the variable
``PEERSDB_<NAME>``, the original container's variable (``ROOT``, ``ROOTIP``, ``REGION``), the default.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from peersdb import __version__
from peersdb.errors import SettingsError

TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})

#: An uploaded file passes through memory as base64 in `post`; larger ones need another way in.
MAX_BODY_DEFAULT = 64 * 1024 * 1024
#: Limits of a member's record, in which region and addresses are told to others.
MAX_REGION = 63
MAX_ANNOUNCE = 16
MAX_ADDRESS = 256
#: Length of ``/p2p/`` and a peer id, which an address gets there.
P2P_SUFFIX = 57
#: A voter and its weight.
VOTER = re.compile(r"12D3KooW[1-9A-HJ-NP-Za-km-z]{44}(?:=[1-9][0-9]{0,3})?")
MAX_VOTERS = 1024
MIN_QUORUM, MAX_QUORUM = 50, 99
#: What this node dials and can be dialled at.
MULTIADDR = re.compile(
    r"/(?:ip4|ip6|dns|dns4|dns6)/[!-.0-~]{1,253}/tcp/[0-9]{1,5}(?:/p2p/[1-9A-Za-z]{1,64})?"
)


def _flag(default: Any, text: str, *, group: str, env: str | None = None, arg: str = "") -> Any:
    """A field of `Settings` with what the help and the parser need to know of it."""
    return field(default=default, metadata={"text": text, "group": group, "env": env, "arg": arg})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a node can be told, typed; the names are the flags' with ``_`` for ``-``."""

    shell: bool = _flag(False, "the interactive shell on this terminal", group="interfaces")
    http: bool = _flag(False, "the HTTP interface", group="interfaces")
    http_host: str = _flag("127.0.0.1", "address the HTTP interface listens on", group="interfaces", arg="IP")
    http_port: int = _flag(8080, "port of the HTTP interface", group="interfaces", arg="PORT")
    cors_origin: str = _flag(
        "", "answer browsers from this origin (off by default)", group="interfaces", arg="ORIGIN"
    )
    api_token_file: str = _flag(
        "",
        "file of tokens, one a line: each HTTP request must bear one; the first is presented to bootstrap peers",
        group="interfaces",
        arg="FILE",
    )
    max_body: int = _flag(
        MAX_BODY_DEFAULT, "largest body of a command, in bytes", group="interfaces", arg="BYTES"
    )
    ipfs_host: str = _flag("127.0.0.1", "address libp2p listens on", group="network", arg="IP")
    ipfs_port: int = _flag(4001, "port libp2p listens on (0: any free one)", group="network", arg="PORT")
    swarm_key_file: str = _flag(
        "",
        "file of the key that all members of a private network share; nobody without it is connected to",
        group="network",
        arg="FILE",
    )
    announce: tuple[str, ...] = _flag(
        (),
        "multiaddrs that others shall dial, when not the listening ones",
        group="network",
        arg="MULTIADDR,...",
    )
    bootstrap: tuple[str, ...] = _flag(
        (),
        "members to connect to at the start, tried until it works: host[:port] of their HTTP interface "
        "(port 8080 by default), or a multiaddr",
        group="network",
        env="ROOTIP",
        arg="PEER,...",
    )
    root: bool = _flag(
        False,
        "this node creates the contributions store, if its bootstrap peers have none",
        group="data",
        env="ROOT",
    )
    store: str = _flag(
        "",
        "address of the one store this node may hold; it then never creates another",
        group="data",
        arg="ADDRESS",
    )
    repo: str = _flag("peersdb", "directory of this node's data", group="data", arg="DIR")
    download_dir: str = _flag("~/Downloads/", "where `get` puts files", group="data", arg="DIR")
    full_replica: bool = _flag(False, "fetch and keep the files of all contributions", group="data")
    profile: str = _flag(
        "unixfs-v1-2025",
        "how files become blocks: unixfs-v1-2025 or unixfs-v0-2015 (CIDv0)",
        group="data",
        arg="NAME",
    )
    validate: bool = _flag(
        False,
        "judge contributions unasked as they arrive, and vote; what is not said is as for -full-replica",
        group="validation",
    )
    validators: str = _flag(
        "",
        "which validators look at which file: a file of rules, or the rules as JSON (docs/validators.md)",
        group="validation",
        arg="FILE",
    )
    voters: tuple[str, ...] = _flag(
        (),
        "whose votes count, each with its weight or 1; by default those of the connected peers",
        group="validation",
        arg="PEERID[=N],...",
    )
    quorum: int = _flag(
        50,
        "votes decide when more than this share of the voters' weight agrees (50 to 99)",
        group="validation",
        arg="PERCENT",
    )
    benchmark: bool = _flag(False, "record start-up and replication times, memory and CPU", group="measuring")
    region: str = _flag(
        "", "this node's region, shown in benchmarks and status", group="measuring", env="REGION", arg="NAME"
    )
    devlogs: bool = _flag(False, "debug logs", group="logs")
    log_format: str = _flag("console", "console or json", group="logs", arg="FORMAT")
    experimental: bool = _flag(True, "taken for the original's sake; nothing depends on it", group="logs")

    @property
    def repo_dir(self) -> Path:
        """The repo directory, absolute."""
        return Path(self.repo).expanduser().absolute()

    @property
    def download_path(self) -> Path:
        """The download directory, absolute."""
        return Path(self.download_dir).expanduser().absolute()

    @property
    def swarm_key_path(self) -> Path:
        """The file of the swarm key, absolute."""
        return Path(self.swarm_key_file).expanduser().absolute()

    @property
    def validators_path(self) -> Path:
        """The file of the validators' rules, absolute."""
        return Path(self.validators).expanduser().absolute()

    @property
    def voter_weights(self) -> dict[str, int]:
        """The named voters: peer id → weight; empty: whoever is connected."""
        weights = {}
        for voter in self.voters:
            peer, _, weight = voter.partition("=")
            weights[peer] = int(weight or 1)
        return weights

    @property
    def api_token_path(self) -> Path:
        """The file of API tokens, absolute."""
        return Path(self.api_token_file).expanduser().absolute()


class HelpRequested(Exception):
    """The user asked for ``-h`` or ``-version``; the message is the text to print."""


def parse(argv: Sequence[str], env: Mapping[str, str]) -> Settings:
    """Reads flags and environment.

    Args:
        argv: the arguments without the program's name; ``-x``, ``--x``, ``-x=v`` and ``-x v`` all
            work, but a boolean takes its value by ``=`` alone, as in Go.
        env: the environment.

    Raises:
        SettingsError: an unknown flag, a missing or a bad value; the message names it.
        HelpRequested: for ``-h``, ``-help``, ``-version``.
    """
    given = _flags(argv)
    for f in fields(Settings):
        if f.name in given:
            continue
        for variable in ("PEERSDB_" + f.name.upper(), f.metadata["env"]):
            if variable and env.get(variable, "") != "":
                given[f.name] = _convert(f"environment variable {variable}", f.type, env[variable])
                break
    given.setdefault("validate", given.get("full_replica", False))
    settings = Settings(**given)
    _check(settings)
    return settings


def _flags(argv: Sequence[str]) -> dict[str, Any]:
    by_name = {f.name.replace("_", "-"): f for f in fields(Settings)}
    given: dict[str, Any] = {}
    args = list(argv)
    while args:
        word = args.pop(0)
        match = re.fullmatch(r"--?([^-=][^=]*)(=?)(.*)", word, re.DOTALL)
        if not match:
            raise SettingsError(f"unexpected argument {word!r}: flags start with '-' (see peersdb -help)")
        name, eq, value = match.groups()
        if name in {"h", "help"}:
            from peersdb.usage import usage  # noqa: PLC0415 - it is made from what is here

            raise HelpRequested(usage())
        if name == "version":
            raise HelpRequested(f"peersdb {__version__}")
        if name not in by_name:
            raise SettingsError(
                f"unknown flag {word.partition('=')[0]!r}{_nearest(name, by_name)} (see peersdb -help)"
            )
        f = by_name[name]
        if f.type == "bool" and not eq:
            value = "true"
        elif not eq:
            if not args:
                raise SettingsError(f"flag -{name} needs a value")
            value = args.pop(0)
        converted = _convert(f"flag -{name}", f.type, value)
        if isinstance(converted, tuple):
            converted = (*given.get(f.name, ()), *converted)
        given[f.name] = converted
    return given


def from_process() -> Settings:
    """The settings of this process: its arguments and its environment."""
    import sys  # noqa: PLC0415 - only here

    return parse(sys.argv[1:], os.environ)


def _convert(where: str, kind: Any, text: str) -> Any:
    if kind == "bool":
        if text in TRUE:
            return True
        if text in FALSE:
            return False
        raise SettingsError(f"{where}: {text!r} is neither true nor false")
    if kind == "int":
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise SettingsError(f"{where}: {text!r} is not a number")
        return int(text)
    if kind == "tuple[str, ...]":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    import difflib  # noqa: PLC0415 - only when a flag is wrong

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean -{close[0]}?" if close else ""


def _check(s: Settings) -> None:
    for name, port, low in (("http-port", s.http_port, 1), ("ipfs-port", s.ipfs_port, 0)):
        if not low <= port <= 65535:
            raise SettingsError(f"flag -{name}: {port} is not a port ({low} to 65535)")
    if s.http and s.ipfs_port == s.http_port and s.http_host == s.ipfs_host:
        raise SettingsError(f"flags -http-port and -ipfs-port are both {s.http_port}: they need two ports")
    for name, host in (("http-host", s.http_host), ("ipfs-host", s.ipfs_host)):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise SettingsError(f"flag -{name}: {host!r} is not an IP address") from None
    if s.profile not in {"unixfs-v1-2025", "unixfs-v0-2015"}:
        raise SettingsError(f"flag -profile: {s.profile!r} is neither unixfs-v1-2025 nor unixfs-v0-2015")
    if s.log_format not in {"console", "json"}:
        raise SettingsError(f"flag -log-format: {s.log_format!r} is neither console nor json")
    if s.max_body < 1024:
        raise SettingsError("flag -max-body: at least 1024 bytes")
    _check_addresses(s)
    _check_names(s)
    _check_voters(s)


def _check_names(s: Settings) -> None:
    if len(s.region) > MAX_REGION or not (s.region.isascii() and s.region.isprintable()):
        raise SettingsError(
            f"flag -region: {s.region!r} is not printable ASCII of at most {MAX_REGION} characters"
        )
    if not s.repo:
        raise SettingsError("flag -repo: a directory is needed")
    for name, place in (
        ("repo", s.repo),
        ("download-dir", s.download_dir),
        ("api-token-file", s.api_token_file),
        ("swarm-key-file", s.swarm_key_file),
    ):
        try:
            Path(place).expanduser()
        except RuntimeError:
            raise SettingsError(
                f"flag -{name}: {place!r} names no home directory: give a full path"
            ) from None


def _check_voters(s: Settings) -> None:
    if not MIN_QUORUM <= s.quorum <= MAX_QUORUM:
        raise SettingsError(
            f"flag -quorum: {s.quorum} is not a share of {MIN_QUORUM} to {MAX_QUORUM} percent; "
            "below half, a file could be valid and invalid at once"
        )
    if len(s.voters) > MAX_VOTERS:
        raise SettingsError(f"flag -voters: {len(s.voters)} voters are named, {MAX_VOTERS} are the most")
    for voter in s.voters:
        if not VOTER.fullmatch(voter):
            raise SettingsError(
                f"flag -voters: {voter[:80]!r} is not a peer id, or a peer id and =1 to =9999"
            )


def _check_addresses(s: Settings) -> None:
    for peer in s.bootstrap:
        if not peer.startswith("/"):
            split_host_port(peer)
        elif not MULTIADDR.fullmatch(peer) or "/p2p/" not in peer:
            raise SettingsError(
                f"flag -bootstrap: {peer!r} is no multiaddr of the form /ip4/<address>/tcp/<port>/p2p/<peer id>"
            )
    for address in s.announce:
        if not MULTIADDR.fullmatch(address):
            raise SettingsError(
                f"flag -announce: {address!r} is no multiaddr of the form /ip4/<address>/tcp/<port>"
            )
        if len(address) + (0 if "/p2p/" in address else P2P_SUFFIX) > MAX_ADDRESS:
            raise SettingsError(
                f"flag -announce: {address[:60]}… is longer than {MAX_ADDRESS - P2P_SUFFIX} characters"
            )
    if len(s.announce) > MAX_ANNOUNCE:
        raise SettingsError(
            f"flag -announce: {len(s.announce)} addresses are given, {MAX_ANNOUNCE} are the most"
        )


def split_host_port(peer: str, default: int = 8080) -> tuple[str, int]:
    """``host[:port]`` or ``[ipv6][:port]`` as host and port.

    Raises:
        SettingsError: it is neither.
    """
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]/:\s]+))(?::([0-9]{1,5}))?", peer)
    if not match or not 0 < int(match[3] or default) <= 65535:
        raise SettingsError(f"flag -bootstrap: {peer!r} is neither host[:port] nor a multiaddr")
    return match[1] or match[2], int(match[3] or default)
