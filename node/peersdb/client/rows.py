"""A JSON array of objects, object by object as its bytes arrive: an answer of any length at flat memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

from peersdb.client.errors import BadAnswer

#: One row has a path, a name (255 bytes at most) and little else; more than this (characters) is no node's.
MAX_ROW = 1024 * 1024
#: White space of JSON (RFC 8259, section 2).
SPACE = " \t\r\n"


def objects(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of the array that ``chunks`` are the bytes of, however they are cut.

    Raises:
        BadAnswer: they are no array of objects, are not whole, or one object is larger than `MAX_ROW`.
    """
    decode = codecs.getincrementaldecoder("utf-8")().decode
    parser = _Parser()
    try:
        for chunk in chunks:
            yield from parser.feed(decode(chunk))
        decode(b"", final=True)
    except UnicodeDecodeError:
        raise BadAnswer("the node's list is not UTF-8: is this the address of a node?") from None
    if parser.expected != "end":
        raise BadAnswer("the node's list is not whole: ask again")


class _Parser:
    """What was read and not yet used, and what may come next."""

    def __init__(self) -> None:
        self.expected = "["
        self._text, self._first = "", True
        self._decoder = json.JSONDecoder()

    def feed(self, text: str) -> Iterator[dict[str, Any]]:
        """The objects that ``text`` completes."""
        self._text += text
        at = 0
        while True:
            while at < len(self._text) and self._text[at] in SPACE:
                at += 1
            if at == len(self._text):
                break
            if self.expected == "object" and self._text[at] == "{":
                try:
                    value, at = self._decoder.raw_decode(self._text, at)
                except (ValueError, RecursionError):
                    # Not whole yet, or never: which of them, only the limit or the end tells.
                    if len(self._text) - at > MAX_ROW:
                        raise _no_list() from None
                    break
                self.expected = "comma"
                yield value
            else:
                self._step(self._text[at])
                at += 1
        self._text = self._text[at:]

    def _step(self, char: str) -> None:
        """Takes one sign between objects."""
        if self.expected == "[" and char == "[":
            self.expected = "object"
        elif self.expected == "comma" and char == ",":
            self.expected, self._first = "object", False
        elif char == "]" and (self.expected == "comma" or (self.expected == "object" and self._first)):
            self.expected = "end"
        else:
            raise _no_list()


def _no_list() -> BadAnswer:
    return BadAnswer("what was answered is no list of contributions: is this the address of a node?")
