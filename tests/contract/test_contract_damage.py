"""A page of a node's database goes bad: it is named, what it held comes back from a peer, the rest is served."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from contract_nodes import Node, Nodes, eventually

pytestmark = pytest.mark.processes

PAGE = 4096
TABLE_LEAF, INDEX_LEAF = 0x0D, 0x0A


def pages_of(file: Path, kind: int, holding: bytes) -> list[int]:
    """The numbers, from 1, of the pages of a kind that hold a text."""
    data = file.read_bytes()
    pages = [data[start : start + PAGE] for start in range(0, len(data), PAGE)]
    return [n for n, page in enumerate(pages, 1) if page[0] == kind and page.count(holding) > 1]


def last_page_of(file: Path, tree: str) -> int:
    """The last leaf of a table or an index."""
    with closing(sqlite3.connect(file)) as conn:
        ((number,),) = conn.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (tree,))
    data = file.read_bytes()
    while data[(number - 1) * PAGE] not in (TABLE_LEAF, INDEX_LEAF):
        number = int.from_bytes(data[(number - 1) * PAGE + 8 :][:4])
    return int(number)


def overwrite(file: Path, number: int) -> None:
    """Puts other bytes on a page."""
    with file.open("r+b") as database:
        database.seek((number - 1) * PAGE)
        database.write(os.urandom(PAGE))


DAMAGED: dict[str, Callable[[Path], int]] = {
    "entries: page {}": lambda file: last_page_of(file, "entries"),
    "entries_path: page {}": lambda file: last_page_of(file, "entries_path"),
    "schema: page {}": lambda _file: 1,
}


@pytest.fixture
def pair(nodes: Nodes) -> list[Node]:
    """A root and a full replica with the same 150 contributions of both."""
    root = nodes.start("root", "-root").wait_ready()
    peer = nodes.start("peer", "-bootstrap", f"127.0.0.1:{root.http_port}", "-full-replica").wait_ready()
    for number in range(150):
        (root, peer)[number % 2].post(f"contribution {number}".encode() * 20, f"{number}.txt")
    for node in (root, peer):
        eventually(
            lambda node=node: node.status()["entries"], "replication", until=lambda count: count == 150
        )
    eventually(lambda: peer.status()["pins"]["pinned"], "the files", until=lambda count: count == 150)
    return [root, peer]


def damage(node: Node) -> dict[str, Any]:
    answer = node.get_url("/peersdb/status")
    found: dict[str, Any] | None = answer.json["damage"] if answer.status == 200 else None
    return found or {}


@pytest.mark.parametrize(
    "named",
    ["entries: page {}", *(pytest.param(name, marks=pytest.mark.slow) for name in list(DAMAGED)[1:])],
)
def test_a_damaged_page_is_named_and_everything_is_there_again(pair: list[Node], named: str) -> None:
    root, peer = pair
    expected = root.query()
    root.stop()
    file = root.repo / "peersdb.sqlite"
    number = DAMAGED[named](file)
    overwrite(file, number)
    flags = root.flags
    root.flags = (*flags, "-bootstrap", f"127.0.0.1:{peer.http_port}")
    root.start().wait_answering()
    found = eventually(
        lambda: damage(root), "the end of the damage", until=lambda one: one.get("state") == "healed"
    )
    assert root.query() == expected == peer.query()
    assert root.status()["fingerprint"] == peer.status()["fingerprint"]
    assert found["damaged"] == [named.format(number)]
    assert found["kept"].startswith("peersdb.sqlite.damaged-20")
    assert (root.repo / found["kept"]).exists()
    assert f"damaged=('{named.format(number)}',)" in root.log(60_000)
    for row in expected[::10]:
        assert root.get(row["path"]).startswith(b"contribution ")
    root.post(b"after the damage")
    assert len(eventually(peer.paths, "replication", until=lambda paths: len(paths) == 151)) == 151
    root.stop()
    root.start().wait_ready()
    assert damage(root) == found  # what happened is told as long as the repo lives


def test_one_goes_bad_while_it_runs_and_one_while_it_is_stopped_and_each_heals_from_the_other(
    pair: list[Node],
) -> None:
    root, peer = pair
    expected, fingerprint = root.query(), root.status()["fingerprint"]
    root.stop()
    peer.stop()  # all of its log is in the file now
    numbers = {}
    for node, which in ((root, -1), (peer, 0)):
        numbers[node.name] = pages_of(node.repo / "peersdb.sqlite", TABLE_LEAF, b"12D3Koo")[which]
    overwrite(root.repo / "peersdb.sqlite", numbers["root"])
    peer.flags = ("-full-replica",)
    peer.start().wait_answering()
    overwrite(peer.repo / "peersdb.sqlite", numbers["peer"])
    answers = [peer.get_url("/peersdb/status").status, *(peer.command("query").status for _ in range(3))]
    assert set(answers) <= {200, 500}
    for row in expected[50::20]:  # what lies elsewhere is served, whatever is done about it
        assert peer.get(row["path"]).startswith(b"contribution ")
    eventually(lambda: damage(peer), "the damage of the running node")
    root.flags = (*root.flags, "-bootstrap", f"127.0.0.1:{peer.http_port}")
    root.start().wait_answering()
    for node in (root, peer):
        found = eventually(
            lambda node=node: damage(node), "the end", until=lambda one: one.get("state") == "healed"
        )
        assert found["damaged"] == [f"entries: page {numbers[node.name]}"]
        assert found["entries"] < 150
        assert node.status()["fingerprint"] == fingerprint
        assert node.query() == expected


@pytest.mark.slow
def test_a_database_that_goes_bad_under_a_node_that_is_killed_meanwhile_heals(pair: list[Node]) -> None:
    root, peer = pair
    expected = root.query()
    root.flags = (*root.flags, "-bootstrap", f"127.0.0.1:{peer.http_port}")
    file = root.repo / "peersdb.sqlite"
    root.stop()
    for attempt in range(3):
        if file.exists():  # else the swap was cut by the kill
            number = pages_of(file, TABLE_LEAF, b"12D3Koo")[-1]  # its trees may lead nowhere by now
            overwrite(file, number)
        root.start()
        if attempt < 2:
            eventually(
                lambda: root.log(200_000).count("rebuilding it"),
                "the rebuild",
                until=lambda n, a=attempt: n > a,
            )
            root.kill()
            assert file.exists() or list(root.repo.glob("*.rebuilt"))
    root.wait_ready()
    eventually(lambda: damage(root), "the end of the damage", until=lambda one: one.get("state") == "healed")
    assert root.query() == expected


def test_the_page_about_it_shows_and_explains_each_key(pair: list[Node]) -> None:
    root, peer = pair
    root.stop()
    overwrite(root.repo / "peersdb.sqlite", 1)
    root.flags = (*root.flags, "-bootstrap", f"127.0.0.1:{peer.http_port}")
    root.start().wait_answering()
    keys = list(eventually(lambda: damage(root), "the damage in the status"))
    page = (Path(__file__).parents[2] / "docs" / "damage.md").read_text()
    (shown,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert list(json.loads(shown)["damage"]) == keys
    explained = re.findall(r"^\| (`.*?) \| ", page, re.MULTILINE)
    assert {word for cell in explained for word in re.findall(r"`(\w+)`", cell)} == {*keys} - {"at"}
