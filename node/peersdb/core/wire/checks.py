"""Checks of single fields: each gives the value back, or says what is wrong with it."""

from collections.abc import Callable
from typing import Any

from peersdb.core.cid import CID
from peersdb.core.identity import KEY_SIZE, is_hex
from peersdb.core.wire.limits import FINGERPRINT_SIZE, MAX_ADDRESS, MAX_CID, MAX_INT, TIP_SIZE
from peersdb.errors import InvalidCID, InvalidMessage

Check = Callable[[Any], Any]


def check_int(least: int, most: int = MAX_INT) -> Check:
    """A whole number within these limits."""

    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise InvalidMessage(f"is not a whole number from {least} to {most}")
        return value

    return check


def check_bool(value: Any) -> bool:
    """True or False."""
    if type(value) is not bool:
        raise InvalidMessage("is not true or false")
    return value


def check_bytes(most: int, least: int = 0) -> Check:
    """Bytes, so many at most and at least."""

    def check(value: Any) -> bytes:
        if type(value) is not bytes or not least <= len(value) <= most:
            raise InvalidMessage(f"is not {least} to {most} bytes")
        return value

    return check


def check_cid(value: Any) -> bytes:
    """The bytes of a CID."""
    if type(value) is not bytes or len(value) > MAX_CID:
        raise InvalidMessage("is not the bytes of a CID")
    try:
        CID.from_bytes(value)
    except InvalidCID as error:
        raise InvalidMessage(f"is not the bytes of a CID: {error}") from error
    return value


def check_address(value: Any) -> str | None:
    """A store's address, or None."""
    if value is not None and (type(value) is not str or not 0 < len(value) <= MAX_ADDRESS):
        raise InvalidMessage(f"is not a store's address of at most {MAX_ADDRESS} characters")
    address: str | None = value
    return address


def check_key(value: Any) -> str:
    """An Ed25519 public key in hex."""
    if not is_hex(value, KEY_SIZE):
        raise InvalidMessage("is not an Ed25519 public key in hex")
    key: str = value
    return key


def check_many(item: Check, most: int) -> Check:
    """A list of such items, so many at most; counted before each is checked."""

    def check(value: Any) -> tuple[Any, ...]:
        if type(value) not in (list, tuple) or len(value) > most:
            raise InvalidMessage(f"is not a list of at most {most}")
        return tuple(map(item, value))

    return check


def check_writer(value: Any) -> tuple[str, int, int]:
    """A place in a version vector: (key, epoch, seq)."""
    if type(value) not in (list, tuple) or len(value) != 3:
        raise InvalidMessage("is not a list of [key, epoch, seq]")
    key, epoch, seq = value
    return check_key(key), check_int(0)(epoch), check_int(0)(seq)


def check_chain(value: Any) -> tuple[bytes, int, int, bytes]:
    """How far a voter's chain goes: (key, epoch, seq, beginning of the last ballot's hash)."""
    if type(value) not in (list, tuple) or len(value) != 4:
        raise InvalidMessage("is not a list of [key, epoch, seq, tip]")
    key, epoch, seq, tip = value
    return (
        check_bytes(KEY_SIZE, KEY_SIZE)(key),
        check_int(0)(epoch),
        check_int(1)(seq),
        check_bytes(TIP_SIZE, TIP_SIZE)(tip),
    )


def check_range(value: Any) -> tuple[int, bytes, int, bytes, int, bytes]:
    """A range of the log's order and what is in it: (time, digest, time, digest, count, fingerprint)."""
    if type(value) not in (list, tuple) or len(value) != 6:
        raise InvalidMessage("is not a range of six fields")
    number, digest = check_int(0), check_bytes(FINGERPRINT_SIZE)
    low_time, low, high_time, high, count, fingerprint = value
    return (
        number(low_time),
        digest(low),
        number(high_time),
        digest(high),
        number(count),
        check_bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE)(fingerprint),
    )
