"""The nodes under test: where they are, and which region each is in."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtests.errors import OptionsError

# Each node has a watching greenlet and connections of its own in every worker; a cluster of this size
# is far beyond what one machine can hold.
MAX_NODES = 500
MEMBER = ("name", "http", "region", "role")


@dataclass(frozen=True)
class Node:
    """One node, met by its HTTP API."""

    name: str
    """How it is called in samples and plots; unique in a run."""

    url: str
    """``http://host:port``, no slash at the end."""

    region: str = ""
    """Empty until the node itself was asked."""

    peer_id: str = ""
    root: bool = False
    version: str = ""
    token: str = field(default="", repr=False)
    """What it asks for, empty: nothing. Never written anywhere."""

    def public(self) -> dict[str, Any]:
        """What may be written down."""
        return {name: value for name, value in asdict(self).items() if name != "token"}


def parse_nodes(text: str) -> list[Node]:
    """Read ``URL[=region]`` items, separated by commas or blanks.

    Raises:
        OptionsError: an item is no HTTP address, one is named twice, or there are none or too many.
    """
    nodes = []
    for item in text.replace(",", " ").split():
        url, _, region = item.partition("=")
        nodes.append(_node(url, region))
    return _checked(nodes)


def parse_status(text: str) -> list[Node]:
    """Read what ``peersdb-operator local status -o json`` prints.

    Raises:
        OptionsError: it is not that, or no member has an HTTP address.
    """
    try:
        members = json.loads(text)["local"]["members"]
        nodes = [_member(member) for member in members]
    except (ValueError, KeyError, TypeError) as error:
        raise OptionsError(
            "this is no cluster status: it must be the output of `peersdb-operator local status -o json` "
            f"({type(error).__name__}: {error})"
        ) from error
    return _checked([node for node in nodes if node is not None])


def read_status(path: Path) -> list[Node]:
    """Read a file that holds a cluster's status.

    Raises:
        OptionsError: it cannot be read or is no status.
    """
    try:
        return parse_status(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionsError(f"cannot read the cluster status {path}: {error.strerror}") from error


def read_targets(path: Path) -> list[Node]:
    """Read a file ``{"members": [{"name", "http", "region", "role"}]}``.

    Raises:
        OptionsError: it cannot be read or is no such file.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionsError(f"cannot read the targets {path}: {error.strerror}") from error
    except ValueError as error:
        raise OptionsError(f"the targets {path} are no JSON: {error}") from error
    return _checked(parse_members(value.get("members") if isinstance(value, dict) else None))


def parse_members(values: object) -> list[Node]:
    """The nodes of a decoded list ``[{"name", "http", "region", "role"}]``; more fields do no harm.

    Raises:
        OptionsError: it is no such list.
    """
    if not isinstance(values, list) or len(values) > MAX_NODES:
        raise OptionsError(f"members must be a list of at most {MAX_NODES}")
    nodes = []
    for value in values:
        fields = [value.get(name, "") for name in MEMBER] if isinstance(value, dict) else []
        name, http, region, role = (one if isinstance(one, str) else "" for one in fields or [""] * 4)
        if not name or not all(isinstance(one, str) for one in fields):
            raise OptionsError(f"a member needs text for {', '.join(MEMBER)}")
        nodes.append(_node(http, region, name, root=role == "root"))
    return nodes


def regions_of(nodes: Sequence[Node]) -> list[str]:
    """The regions in alphabetical order."""
    return sorted({node.region for node in nodes})


def _member(member: dict[str, Any]) -> Node | None:
    address = member["http"]
    if not address:
        return None  # one that has not been started yet has no address
    url = address if "://" in address else f"http://{address}"
    return _node(url, member.get("region") or "", member["name"], root=member.get("role") == "root")


def _node(url: str, region: str, name: str = "", *, root: bool = False) -> Node:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OptionsError(f"{url!r} is no node: write http://host:port, or http://host:port=region")
    base = f"{parts.scheme}://{parts.netloc}"
    return Node(name=name or parts.netloc, url=base, region=region, root=root)


def _checked(nodes: list[Node]) -> list[Node]:
    if not nodes:
        raise OptionsError("no node to test: give --nodes http://host:port[=region],... or --cluster-status")
    if len(nodes) > MAX_NODES:
        raise OptionsError(f"{len(nodes)} nodes are more than the {MAX_NODES} that one load test drives")
    names = [node.name for node in nodes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionsError(f"named twice: {', '.join(twice)}")
    return nodes
