"""Text whose lines are not too long, and none of which has a forbidden word."""

from collections.abc import Mapping
from typing import Any

from peersdb.validators import File, Finding, OptionsError, abstain, invalid, valid


def check(file: File, options: Mapping[str, Any]) -> Finding:
    """Invalid when a line is too long, has a forbidden word, or is not UTF-8.

    Options:
        max_length: bytes of a line (1000).
        forbidden: words that no line may have (none).
    """
    longest = options.get("max_length", 1000)
    if not isinstance(longest, int) or longest < 1:
        raise OptionsError(f"max_length is {longest!r}, not a whole number above 0")
    forbidden = options.get("forbidden", [])
    if b"\0" in file.head():
        return abstain("it is no text")
    count = 0
    with file.open() as stream:
        # Never more than a line is held, and never more of it than may be there.
        while line := stream.readline(longest + 2):
            count += 1
            if len(line.rstrip(b"\r\n")) > longest:
                return invalid(f"line {count} is longer than {longest} bytes")
            try:
                text = line.decode()
            except UnicodeDecodeError:
                return invalid(f"line {count} is not UTF-8")
            for word in forbidden:
                if word in text:
                    return invalid(f"line {count} has {word!r}")
    return valid(f"{count} lines")
