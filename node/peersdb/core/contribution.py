"""What one entry contributes: a path, who shared it and when."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

from peersdb.core.cid import ipfs_path, is_hash, parse_path
from peersdb.errors import InvalidCID, InvalidData, InvalidEntry

MAX_NAME = 255  # characters; what file systems take at most for one name
MAX_PEER_ID = 64  # characters; one of an Ed25519 key has 52
MAX_NUMBER = 2**53  # JavaScript reads larger whole numbers inexactly

_SECOND = 1_000_000_000  # nanoseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_TIMESTAMP = 2**63 - 1  # nanoseconds; the year 2262, where Go's and SQLite's integers end
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII
)  # RFC 3339


@dataclass(frozen=True, slots=True)
class Contribution:
    """One shared file.

    Attributes:
        path: ``/ipfs/<cid>``.
        contributor: the writer's peer id.
        creation_ts: when it was shared, RFC 3339 with up to nine digits of the second.
        name: the file's name, if the contributor gave one.
        size: the content's bytes, if known.
        seq: the entry's place in its writer's own chain, from 1.
        prev: the hash of the writer's entry before; None for the first.
        epoch: counts the chain's new beginnings after a repo was restored from an old copy.
    """

    path: str
    contributor: str
    creation_ts: str
    name: str | None
    size: int | None
    seq: int
    prev: str | None
    epoch: int = 0

    def to_value(self) -> dict[str, Any]:
        """Write it as the ``value`` of an entry's payload."""
        value: dict[str, Any] = {
            "path": self.path,
            "contributor": self.contributor,
            "creationTS": self.creation_ts,
            "seq": self.seq,
            "prev": self.prev,
        }
        if self.name is not None:
            value["name"] = self.name
        if self.size is not None:
            value["size"] = self.size
        if self.epoch > 0:
            value["epoch"] = self.epoch
        return value

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Read it from an entry's payload; keys of later versions are left alone.

        Raises:
            InvalidEntry: a field is missing or wrong (reason ``payload``; the time: ``timestamp``).
        """
        if type(value) is not dict:
            raise InvalidEntry("payload", "the payload's value is not a map")
        contribution = cls(
            path=_path(value.get("path")),
            contributor=_contributor(value.get("contributor")),
            creation_ts=_creation_ts(value.get("creationTS")),
            name=check_name(value["name"]) if "name" in value else None,
            size=_number(value, "size", 0) if "size" in value else None,
            seq=_number(value, "seq", 1),
            prev=value.get("prev"),
            epoch=_number(value, "epoch", 1) if "epoch" in value else 0,
        )
        if contribution.prev is None:
            if contribution.seq != 1:
                raise InvalidEntry("payload", f"seq is {contribution.seq}, but prev is missing")
        elif not is_hash(contribution.prev):
            raise InvalidEntry("payload", "prev is not the hash of an entry")
        elif contribution.seq == 1 and contribution.epoch == 0:
            raise InvalidEntry("payload", "the first entry of a writer's chain has a prev")
        return contribution


def check_name(name: Any) -> str:
    """Pass a file's name that is one on any system: no separator, no control character.

    Raises:
        InvalidEntry: it is not (reason ``payload``).
    """
    if type(name) is not str or not 0 < len(name) <= MAX_NAME:
        raise InvalidEntry("payload", f"a file's name has 1 to {MAX_NAME} characters")
    if name in (".", "..") or any(char in "/\\" or not char.isprintable() for char in name):
        raise InvalidEntry(
            "payload", f"{name!r} is no file name: give one without a path or control characters"
        )
    return name


def format_timestamp(ns: int) -> str:
    """Write nanoseconds since 1970 as Go's ``time.RFC3339Nano`` in UTC: no zeros at the fraction's end.

    Raises:
        InvalidData: the time lies before 1970 or after 2262.
    """
    if not 0 <= ns <= _MAX_TIMESTAMP:
        raise InvalidData(f"{ns} ns is no time between 1970 and 2262; set the machine's clock")
    seconds, fraction = divmod(ns, _SECOND)
    text = _to_the_second(seconds)
    return f"{text}.{fraction:09}".rstrip("0").rstrip(".") + "Z" if fraction else text + "Z"


@lru_cache(maxsize=8)  # most times of a busy node are of the same second
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse_timestamp(text: str) -> int:
    """Read an RFC 3339 time, any offset, as nanoseconds since 1970.

    Raises:
        InvalidData: it is none, or lies before 1970 or after 2262.
    """
    match = _TIMESTAMP.fullmatch(text) if len(text) <= 40 else None
    if match is None:
        raise InvalidData(f"{text[:40]!r} is no time: write it as 2024-01-31T12:00:00.123Z")
    try:
        since = datetime.fromisoformat(match[1] + match[3]) - _EPOCH
    except (ValueError, OverflowError) as error:
        raise InvalidData(f"{text!r} is no time: {error}") from error
    ns = (since.days * 86_400 + since.seconds) * _SECOND + int((match[2] or "").ljust(9, "0"))
    if not 0 <= ns <= _MAX_TIMESTAMP:
        raise InvalidData(f"{text!r} is no time between 1970 and 2262")
    return ns


def _path(path: Any) -> str:
    if type(path) is not str:
        raise InvalidEntry("payload", "path is not text")
    try:
        canonical = ipfs_path(parse_path(path))
    except InvalidCID as error:
        raise InvalidEntry("payload", f"path names no content: {error}") from error
    # One spelling for one content, or lookups by path would miss.
    if path != canonical:
        raise InvalidEntry("payload", f"path is {path!r}: write it as {canonical!r}")
    return path


def _contributor(contributor: Any) -> str:
    if type(contributor) is not str or len(contributor) > MAX_PEER_ID:
        raise InvalidEntry("payload", "contributor is not a peer id")
    return contributor


def _creation_ts(text: Any) -> str:
    if type(text) is not str:
        raise InvalidEntry("timestamp", "creationTS is not text")
    try:
        parse_timestamp(text)
    except InvalidData as error:
        raise InvalidEntry("timestamp", f"creationTS: {error}") from error
    return text


def _number(value: dict[str, Any], key: str, least: int) -> int:
    number = value.get(key)
    if type(number) is not int or not least <= number <= MAX_NUMBER:
        raise InvalidEntry("payload", f"{key} is not a whole number from {least} to 2**53")
    return number
