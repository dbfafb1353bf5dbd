"""The address of a log: the CID of its OrbitDB manifest.

A manifest is dag-cbor ``{name, type, accessController}``, its access controller's block ``{type, write}``,
as made by ``@orbitdb/core`` (``src/manifest-store.js``, ``src/access-controllers/ipfs.js``). Nothing in it is
random, so the name carries the cluster's id: without it, every cluster's log had the same address.
"""

import re
from dataclasses import dataclass

from peersdb.core import codec
from peersdb.core.cid import CID, DAG_CBOR, Block, hash_of, is_hash
from peersdb.errors import InvalidBlock, InvalidCID

EVENTS = "events"  # OrbitDB's type of an append-only log
MAX_MANIFEST = 1024  # bytes of each block; ours have under 200

_PREFIX = "/orbitdb/"
_CONTRIBUTIONS = "contributions-"
_CLUSTER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A log's description.

    Attributes:
        name: ``contributions-<cluster id>``.
        type: OrbitDB's type of database, ``events``.
        access_controller: ``/ipfs/zdpu…``, the block that says who may write.
        blocks: the manifest's block, then the access controller's.
    """

    name: str
    type: str
    access_controller: str
    blocks: tuple[Block, Block]

    @property
    def address(self) -> str:
        """``/orbitdb/zdpu…``: the log's address and the id in each of its entries."""
        return f"{_PREFIX}{self.blocks[0].cid}"


def contributions_manifest(cluster_id: str) -> Manifest:
    """Describe the contributions log of a cluster; the same id gives the same address.

    Raises:
        InvalidBlock: the id is not 1 to 63 letters, digits, dots, underscores and dashes.
    """
    if _CLUSTER_ID.fullmatch(cluster_id) is None:
        raise InvalidBlock(
            f"{cluster_id[:80]!r} is no cluster id: it has 1 to 63 letters, digits, '.', '_' and '-'"
        )
    access = codec.encode({"type": "ipfs", "write": ["*"]})
    manifest = codec.encode(
        {
            "name": f"{_CONTRIBUTIONS}{cluster_id}",
            "type": EVENTS,
            "accessController": f"/ipfs/{hash_of(access)}",
        }
    )
    return decode_manifest(manifest, access)


def decode_manifest(manifest: bytes, access: bytes) -> Manifest:
    """Read a contributions log's two blocks; they may come from anyone, compare the address.

    Raises:
        InvalidBlock: they are malformed, do not belong together, or describe a log that is not
            supported (another type, a list of writers).
    """
    value = codec.decode(manifest, MAX_MANIFEST)
    if type(value) is not dict or value.keys() != {"name", "type", "accessController"}:
        raise InvalidBlock("the manifest has not the fields name, type and accessController")
    name = value["name"]
    if type(name) is not str or _CLUSTER_ID.fullmatch(name.removeprefix(_CONTRIBUTIONS)) is None:
        raise InvalidBlock(f"the manifest's name is not {_CONTRIBUTIONS}<cluster id>")
    if not name.startswith(_CONTRIBUTIONS):
        raise InvalidBlock(f"the manifest is of the log {name!r}, not of contributions")
    if value["type"] != EVENTS:
        raise InvalidBlock(f"the manifest's type is {value['type']!r}, only {EVENTS!r} is supported")
    if value["accessController"] != f"/ipfs/{hash_of(access)}":
        raise InvalidBlock("the access controller's block is not the one the manifest names")
    if codec.decode(access, MAX_MANIFEST) != {"type": "ipfs", "write": ["*"]}:
        raise InvalidBlock("the access controller is not ipfs with write ['*']; no other is supported")
    blocks = (Block(CID.of(manifest, DAG_CBOR), manifest), Block(CID.of(access, DAG_CBOR), access))
    return Manifest(name, EVENTS, value["accessController"], blocks)


def parse_address(text: str) -> str:
    """Pass a log's address that is one.

    Raises:
        InvalidCID: it is not ``/orbitdb/zdpu…``.
    """
    if not text.startswith(_PREFIX) or not is_hash(text.removeprefix(_PREFIX)):
        raise InvalidCID(f"{text[:100]!r} is no store address: write it as /orbitdb/zdpu…")
    return text
