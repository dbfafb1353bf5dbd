"""The API token: a secret in a file, one a line.

Several lines are all accepted and the first is presented, so that a token can be changed without a moment at
which old or new clients are refused: add the new one in front, wait, take the old one out. The file is looked at
with each request and read again when it changed, also when it is a symbolic link that now leads elsewhere, as
Kubernetes updates a Secret.

A file that is missing, empty or wrong gives no token, and without a token nobody is let in: at the start (it may come
later), and `HOLD` seconds after it went bad.
"""

from __future__ import annotations

import hmac
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from peersdb.secretfile import advice, read_secret

log = structlog.get_logger("http")

#: A token is random text; shorter ones can be guessed.
MIN_LENGTH = 16
#: Two at most while one replaces the other; some room for those who rotate often.
MAX_TOKENS = 8
#: A file that is written over in place is empty for a moment: so long (seconds) what it held before holds.
HOLD = 5.0
#: What an Authorization header can carry (RFC 6750).
TOKEN = re.compile(rf"(?=.{{{MIN_LENGTH}}})[A-Za-z0-9\-._~+/]+=*")
ADVICE = f"put 1 to {MAX_TOKENS} lines into it, each at least {MIN_LENGTH} letters, digits and -._~+/"

#: What tells whether a file changed.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Seen:
    """What the last look found; replaced as a whole, since two threads look.

    Attributes:
        stamp: tells whether the file changed since; None where it could not be looked at.
        tokens: what is accepted.
        bad_since: when the file was first found without a token, or None.
        reason: why it has none.
    """

    stamp: Stamp | None = None
    tokens: tuple[str, ...] = ()
    bad_since: float | None = None
    reason: str = ""


class Tokens:
    """The tokens of one file."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Reads the file, if it is there.

        Args:
            path: the file.
            clock: seconds from any start.
        """
        self._path, self._clock = path, clock
        self._seen = _Seen()
        self._look()
        if text := advice(path):
            log.warning("the API tokens are not kept secret", advice=text)

    @property
    def first(self) -> str:
        """The token to present to others; empty where there is none."""
        return next(iter(self._look()), "")

    @property
    def none(self) -> bool:
        """Whether there is no token, and so nobody is let in."""
        return not self._look()

    def accepts(self, token: str) -> bool:
        """Whether a token is one of the file's; takes the same time for every wrong one."""
        given = token.encode(errors="surrogateescape")
        return any([hmac.compare_digest(given, known.encode()) for known in self._look()])  # noqa: C419 - all of them

    def _look(self) -> tuple[str, ...]:
        """The tokens that hold now."""
        stamp, reason = None, self._seen.reason
        try:
            stamp = _stamp(self._path)
            if stamp != self._seen.stamp:
                self._seen = _Seen(stamp, _parse(read_secret(self._path)))
                log.info("API tokens were read", file=str(self._path), tokens=len(self._seen.tokens))
                return self._seen.tokens
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        if reason:
            self._seen = self._bad(stamp, reason)
        return self._seen.tokens

    def _bad(self, stamp: Stamp | None, reason: str) -> _Seen:
        """The file gives no token: those from before hold for a while."""
        seen, now = self._seen, self._clock()
        since = now if seen.bad_since is None else seen.bad_since
        told = {"file": str(self._path), "reason": reason, "advice": ADVICE}
        if seen.tokens and now - since < HOLD:
            if seen.bad_since is None:
                log.warning("the token file went bad: its last tokens hold a little", seconds=HOLD, **told)
            return _Seen(stamp, seen.tokens, since, reason)
        if seen.tokens or seen.reason != reason:
            log.error("there is no API token: every request is refused", **told)
        return _Seen(stamp, (), since, reason)


def _stamp(path: Path) -> Stamp:
    found = os.stat(path)  # noqa: PTH116 - one system call a request
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _parse(text: str) -> tuple[str, ...]:
    """The tokens of a file's text.

    Raises:
        ValueError: there is none, or something else; the message never holds what is in it.
    """
    tokens = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not tokens:
        raise ValueError("it is empty")
    if len(tokens) > MAX_TOKENS:
        raise ValueError(f"it has {len(tokens)} lines")
    for number, token in enumerate(tokens, 1):
        if not TOKEN.fullmatch(token):
            raise ValueError(f"token {number} is too short, or has other characters")
    return tokens
