"""The swarm key: a secret that all members of a private network share, in a file of IPFS's format.

::

    /key/swarm/psk/1.0.0/
    /base16/
    <64 hex digits>

The 64 digits alone are taken as well.
"""

from __future__ import annotations

import re
from pathlib import Path

import structlog

from peersdb.errors import SettingsError
from peersdb.secretfile import advice, read_secret

log = structlog.get_logger("node")

#: Bytes of a key.
KEY_BYTES = 32
HEADER = ("/key/swarm/psk/1.0.0/", "/base16/")
MAKE = 'printf "/key/swarm/psk/1.0.0/\\n/base16/\\n%s\\n" "$(openssl rand -hex 32)" makes one'


def read_swarm_key(path: Path) -> bytes:
    """The key in a file.

    Raises:
        SettingsError: the file cannot be read or holds no key; the message never holds what is in it.
    """
    try:
        text = read_secret(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(f"flag -swarm-key-file: cannot read {path}: {reason}") from error
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    digits = lines[2:] if lines[:2] == HEADER else lines
    if len(digits) != 1 or not re.fullmatch(f"[0-9a-fA-F]{{{2 * KEY_BYTES}}}", digits[0]):
        raise SettingsError(
            f"flag -swarm-key-file: {path} holds no swarm key: the lines {HEADER[0]} and {HEADER[1]} (or neither) "
            f"and then {2 * KEY_BYTES} hex digits ({MAKE})"
        )
    if text := advice(path):
        log.warning("the swarm key is not kept secret", advice=text)
    return bytes.fromhex(digits[0])
