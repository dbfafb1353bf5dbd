"""Strict dag-cbor: one value, one encoding.

Format: https://ipld.io/specs/codecs/dag-cbor/spec/. libipld sorts the keys (by length, then bytes) and
writes the shortest numbers; what it reads more tolerantly is refused here by encoding it again.

A link (tag 42) is read as the bytes of its CID, and bytes that are a CID are written as a link.
The two are one value here: a block with such bytes without the tag is refused as not canonical.
"""

from typing import Any

import libipld

from peersdb.errors import InvalidBlock

# Nesting beyond this is refused by every node alike. Without a limit of our own the depth of the
# Python stack at that moment would decide, and two nodes could judge one block differently.
MAX_DEPTH = 32


def encode(value: Any) -> bytes:
    """Encode dicts with text keys, lists, text, bytes, finite numbers, booleans and None.

    Raises:
        InvalidBlock: the value holds something else.
    """
    try:
        data: bytes = libipld.encode_dag_cbor(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidBlock(f"the value cannot be written as dag-cbor: {error}") from error
    return data


def decode(data: bytes, max_size: int) -> Any:
    """Decode one canonical dag-cbor value.

    Args:
        data: the whole block, nothing may follow the value.
        max_size: the most bytes to take.

    Raises:
        InvalidBlock: too large, malformed, nested too deeply, or not the canonical encoding of its value.
    """
    if len(data) > max_size:
        raise InvalidBlock(f"{len(data)} bytes of dag-cbor are too many, at most {max_size} are taken")
    try:
        value = libipld.decode_dag_cbor(data)
        canonical = libipld.encode_dag_cbor(value) == data
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidBlock(f"not dag-cbor: {error}") from error
    if not canonical:
        raise InvalidBlock("dag-cbor that is not in its canonical form; encode it with a strict encoder")
    if not _is_shallow(value, MAX_DEPTH):
        raise InvalidBlock(f"dag-cbor nested deeper than {MAX_DEPTH} levels")
    return value


def _is_shallow(value: Any, depth: int) -> bool:
    items = value.values() if type(value) is dict else value if type(value) is list else ()
    for item in items:
        kind = type(item)
        if (kind is dict or kind is list) and (depth <= 1 or not _is_shallow(item, depth - 1)):
            return False
    return True
