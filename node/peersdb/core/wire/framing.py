"""Messages to bytes and back, and the frames they travel in."""

from dataclasses import fields
from typing import Any, get_args

from peersdb.core import codec
from peersdb.core.wire.limits import LENGTH_SIZE, MAX_FRAME
from peersdb.core.wire.messages import Message
from peersdb.errors import InvalidBlock, InvalidMessage

_TYPES: dict[str, type[Message]] = {kind.TYPE: kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """Write a message; what the other side would refuse is refused here already.

    Raises:
        InvalidMessage: a field is out of its limits.
    """
    value: dict[str, Any] = {"t": message.TYPE}
    for field in fields(message):
        value[field.name] = _listed(_checked(message, field.name, getattr(message, field.name)))
    data = codec.encode(value)
    if len(data) > message.MAX_SIZE:
        raise InvalidMessage(
            f"a {message.TYPE} message of {len(data)} bytes is too large, at most {message.MAX_SIZE} are sent"
        )
    return data


def decode(data: bytes) -> Message:
    """Read the one message of a frame's body.

    Raises:
        InvalidMessage: it is malformed, unknown, too large or has a field out of its limits.
    """
    kind = _peek(data)
    try:
        value = codec.decode(data, kind.MAX_SIZE)
    except InvalidBlock as error:
        raise InvalidMessage(f"a {kind.TYPE} message is unreadable: {error}") from error
    if value.keys() != {"t", *kind.CHECKS}:
        raise InvalidMessage(f"a {kind.TYPE} message has not the fields {', '.join(kind.CHECKS) or '(none)'}")
    return kind(**{name: _checked(kind, name, value[name]) for name in kind.CHECKS})


def frame(body: bytes) -> bytes:
    """Put the length before a message.

    Raises:
        InvalidMessage: the body is larger than a frame may be.
    """
    if len(body) > MAX_FRAME:
        raise InvalidMessage(f"a frame of {len(body)} bytes is too large, at most {MAX_FRAME} are sent")
    return len(body).to_bytes(LENGTH_SIZE) + body


def frame_length(header: bytes, limit: int = MAX_FRAME) -> int:
    """Read the 4 bytes before a frame's body.

    Raises:
        InvalidMessage: the header is cut off, or the body is empty or larger than the limit.
    """
    if len(header) != LENGTH_SIZE:
        raise InvalidMessage(f"a frame starts with {LENGTH_SIZE} bytes of length, not {len(header)}")
    length = int.from_bytes(header)
    if not 0 < length <= limit:
        raise InvalidMessage(f"a frame of {length} bytes is refused, it has 1 to {limit}")
    return length


def _peek(data: bytes) -> type[Message]:
    # a map of at most 23 keys, the text key "t", a text of at most 23 bytes
    if len(data) < 4 or data[0] >> 5 != 5 or data[1:3] != b"\x61t" or not 0x60 <= data[3] <= 0x77:
        raise InvalidMessage("the frame is not a message of this protocol")
    name = data[4 : 4 + data[3] - 0x60]
    kind = _TYPES.get(name.decode("ascii", "replace"))
    if kind is None:
        raise InvalidMessage(f"the message type {name!r} is unknown to this version")
    return kind


def _checked(kind: Message | type[Message], name: str, value: Any) -> Any:
    try:
        return kind.CHECKS[name](value)
    except InvalidMessage as error:
        raise InvalidMessage(f"{kind.TYPE}.{name} {error}") from error


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if type(value) is tuple else value
