"""Secrets that the operator makes and renews: what one should be, pure but for the randomness that is passed in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from peersdb_operator import names
from peersdb_operator.kube.kinds import SECRET, Object, controller_of

#: Bytes of a token and of a swarm key: nobody guesses 256 bits.
RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Use:
    """What a Secret is for.

    Attributes:
        key: the key of its data.
        rotate: the annotation that asks for a new one.
        text: the data's text from random bytes and the text before (empty for the first).
    """

    key: str
    rotate: str
    text: Callable[[bytes, str], str]


def _token(random: bytes, before: str) -> str:
    """The new token in front, the old one still valid behind it, so that nobody is refused meanwhile."""
    old = before.splitlines()[:1]
    return "\n".join([random.hex(), *old]) + "\n"


def _swarm_key(random: bytes, _before: str) -> str:
    return f"/key/swarm/psk/1.0.0/\n/base16/\n{random.hex()}\n"


API_TOKEN = Use(names.API_TOKEN_KEY, names.ROTATE_API_TOKEN_ANNOTATION, _token)
SWARM_KEY = Use(names.SWARM_KEY_KEY, names.ROTATE_SWARM_KEY_ANNOTATION, _swarm_key)


def wanted(
    use: Use,
    name: str,
    live: Object | None,
    annotations: Mapping[str, str],
    random: Callable[[int], bytes],
) -> Object | None:
    """Give the Secret that should be; None where the one there is stays as it is.

    Args:
        use: what it is for.
        name: its name.
        live: the Secret there is.
        annotations: those of the cluster, which may ask for a new secret.
        random: gives so many random bytes.
    """
    asked = annotations.get(use.rotate, "")
    before = text_of(live, use.key)
    honoured = (live or {}).get("metadata", {}).get("annotations", {}).get(use.rotate, "")
    if before and asked == honoured:
        return None
    if before and not asked:
        return None  # the wish was taken back: what is there is good
    text = use.text(random(RANDOM_BYTES), before)
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {"name": name, "annotations": {use.rotate: asked}},
        "type": "Opaque",
        "data": {use.key: base64.b64encode(text.encode()).decode()},
    }


def made_here(use: Use, live: Object, uid: str) -> bool:
    """Tell whether a Secret is one that was made for the cluster of that uid, also if its owner was taken away."""
    controller = controller_of(live)
    return use.rotate in (live["metadata"].get("annotations") or {}) and (
        controller is None or controller["uid"] == uid
    )


def as_it_is(use: Use, live: Object) -> Object | None:
    """Give a Secret that stays as it is, for its labels and its owner; None if it has no data of ours."""
    if not text_of(live, use.key):
        return None
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {
            "name": live["metadata"]["name"],
            "annotations": {use.rotate: live["metadata"]["annotations"][use.rotate]},
        },
        "type": live.get("type", "Opaque"),
        "data": {use.key: live["data"][use.key]},
    }


def text_of(secret: Object | None, key: str) -> str:
    """Give the text of a Secret's key; empty where there is none."""
    data = (secret or {}).get("data") or {}
    try:
        return base64.b64decode(data.get(key, "")).decode()
    except ValueError:
        return ""


def tokens(secret: Object | None) -> tuple[str, ...]:
    """Give the tokens to present, the newest first: two at most, as rotation leaves them."""
    lines = [line.strip() for line in text_of(secret, API_TOKEN.key).splitlines() if line.strip()]
    return tuple(lines[:2])


def hash_of(text: str) -> str:
    """Give a short hash of a secret: it tells two apart and says nothing of them."""
    return hashlib.sha256(b"peersdb secret\0" + text.encode()).hexdigest()[:16] if text else ""
