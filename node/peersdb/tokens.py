"""The API token: a secret in a file, one a line.

Several lines are all accepted and the first is presented, so that a token can be changed without a moment at
which old or new clients are refused: add the new one in front, wait, take the old one out. The file is read
again when it changes.
"""

import hmac
import os
from pathlib import Path

from peersdb.errors import SettingsError

#: A token is random text; shorter ones can be guessed.
MIN_LENGTH = 16
#: Two at most while one replaces the other; some room for those who rotate often.
MAX_TOKENS = 8
MAX_FILE = 64 * 1024


class Tokens:
    """The tokens of one file."""

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Raises:
            SettingsError: it cannot be read or holds no good token.
        """
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: tuple[str, ...] = ()
        self._read()

    @property
    def first(self) -> str:
        """The token to present to others."""
        self._read()
        return self._tokens[0]

    def accepts(self, token: str) -> bool:
        """Whether a token is one of the file's; takes the same time for every wrong one."""
        self._read()
        given = token.encode()
        return any([hmac.compare_digest(given, known.encode()) for known in self._tokens])  # noqa: C419 - all of them

    def _read(self) -> None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - one system call a request
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                text = file.read(MAX_FILE).decode()
        except (OSError, UnicodeDecodeError) as error:
            if self._tokens:  # it is being replaced: what was read holds until it can be read again
                return
            raise SettingsError(f"flag -api-token-file: cannot read {self._path}: {error}") from error
        tokens = tuple(line.strip() for line in text.splitlines() if line.strip())
        if not tokens or len(tokens) > MAX_TOKENS or any(len(token) < MIN_LENGTH for token in tokens):
            if self._tokens:
                return
            raise SettingsError(
                f"flag -api-token-file: {self._path} needs 1 to {MAX_TOKENS} lines, each a token of at least "
                f"{MIN_LENGTH} characters"
            )
        self._stamp, self._tokens = stamp, tokens
