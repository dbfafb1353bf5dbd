"""Asking a member's HTTP interface where its libp2p is: what ``-bootstrap host[:port]`` means.

The original asks the other side to dial back; here its addresses are asked for and dialled, which works
behind NAT and network policies as well. Where a wildcard or loopback address is told by another machine,
the name that the user gave stands for it.
"""

from __future__ import annotations

import ipaddress
import json
import urllib.error
import urllib.request
from collections.abc import Sequence

import trio

from peersdb.errors import PeerUnreachable
from peersdb.settings import split_host_port

#: An answer has one or two KiB; a wrong server may send anything.
MAX_ANSWER = 256 * 1024
TIMEOUT = 5.0


async def addresses_of(peer: str, token: str = "") -> Sequence[str]:
    """The multiaddrs of the member whose HTTP interface is at ``host[:port]``.

    Args:
        peer: as the user named it.
        token: the API token to present, or empty.

    Raises:
        PeerUnreachable: nobody answers there, or it is no PeersDB node.
    """
    host, port = split_host_port(peer)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}/peersdb/status"
    # A thread may stay behind until its own timeout when the node stops; it holds nothing.
    answer = await trio.to_thread.run_sync(_get, url, token, abandon_on_cancel=True)
    try:
        addresses = [str(address) for address in json.loads(answer)["addrs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise PeerUnreachable(f"{url} is not a PeersDB node: {error!r}") from error
    return [_reachable(address, host) for address in addresses[:16]]


def _get(url: str, token: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:  # noqa: S310
            data: bytes = answer.read(MAX_ANSWER)
            return data
    except urllib.error.HTTPError as error:
        hint = (
            ": it wants another API token than the first of -api-token-file here" if error.code == 401 else ""
        )
        raise PeerUnreachable(f"{url} answers {error.code} {error.reason}{hint}") from error
    except (OSError, urllib.error.URLError) as error:
        raise PeerUnreachable(f"no answer from {url}: {getattr(error, 'reason', error)}") from error


def _reachable(address: str, asked: str) -> str:
    """A loopback address of another machine's means that machine."""
    parts = address.split("/")
    if len(parts) < 3 or parts[1] not in {"ip4", "ip6"}:
        return address
    try:
        told = ipaddress.ip_address(parts[2])
    except ValueError:
        return address
    if not told.is_loopback or _is_loopback(asked):
        return address
    try:
        parts[1] = f"ip{ipaddress.ip_address(asked).version}"
    except ValueError:
        parts[1] = "dns"
    parts[2] = asked
    return "/".join(parts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
