"""docs/http.md names every error that HTTP answers with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from peersdb import errors
from peersdb.api.http import CrossOrigin
from peersdb.api.run import GRACE

PAGE = (Path(__file__).parents[3] / "docs" / "http.md").read_text()

#: Branches of the tree, and what only a peer or the start of a node causes: no request is answered with them.
NEVER_ANSWERED = {
    errors.UsageError,
    errors.SettingsError,
    errors.InvalidData,
    errors.InvalidEntry,
    errors.InvalidRecord,
    errors.InvalidMessage,
    errors.NotAvailable,
    errors.RepoLocked,
}
#: Answers of the HTTP server itself.
SERVERS_OWN = {(404, "unknown_path"), (405, "method_not_allowed")}


def tree(cls: type[errors.PeersDBError]) -> Iterator[type[errors.PeersDBError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from tree(child)


def test_the_table_is_the_exception_tree() -> None:
    told = {
        (int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)
    }
    there = {(cls.status, cls.code) for cls in tree(errors.PeersDBError) if cls not in NEVER_ANSWERED}
    assert CrossOrigin in set(tree(errors.PeersDBError))
    assert told == there | SERVERS_OWN


def test_no_two_errors_share_a_code() -> None:
    codes = [cls.code for cls in tree(errors.PeersDBError)]
    assert len(codes) == len(set(codes))


def test_the_time_to_finish_is_the_one_told() -> None:
    assert f"had {GRACE} s to finish" in PAGE
