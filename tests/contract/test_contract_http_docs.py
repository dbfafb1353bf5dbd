"""Every command that docs/http.md shows is run, and answers what is shown there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_nodes import Node, nodes_in
from test_contract_errors import TABLE

pytestmark = pytest.mark.processes

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
DOWNLOADS = "/home/me/Downloads"


def sessions() -> Iterator[tuple[str, str]]:
    """The commands of the page in their order, each with the output that is shown."""
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def comparable(text: str) -> str:
    """A text without what is different each time: peer ids, times, and the samples of a node ten seconds old."""
    text = re.sub(r"12D3KooW\w{44}", "<peer id>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>", text).rstrip("\n")
    return re.sub(r'(\{"ts":"<time>","membytes":\d+,"cpupercent":[\d.]+\},?)+(?=\])', "", text)


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """The node of the page, and one to connect to."""
    with nodes_in(tmp_path_factory.mktemp("documented")) as made:
        node = made.start("eu", "-root", "-benchmark", "-region", "eu")
        other = made.start("other")
        yield node.wait_ready(), other.wait_answering()


def test_the_commands_of_the_page_answer_what_it_shows(documented: tuple[Node, Node], tmp_path: Path) -> None:
    node, other = documented
    shown = list(sessions())
    assert len(shown) > 5
    for command, output in shown:
        here = command.replace("127.0.0.1:8080", f"127.0.0.1:{node.http_port}")
        here = re.sub(r"/ip4/127\.0\.0\.1/tcp/4002/p2p/\w+", other.multiaddr, here)
        result = subprocess.run(
            ["sh", "-c", here], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
        )
        answered = result.stdout.replace(str(node.downloads), DOWNLOADS)
        assert comparable(answered) == comparable(output), command


def test_the_status_has_the_keys_that_are_shown(documented: tuple[Node, Node]) -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    status = documented[0].status()
    told = re.findall(r'"(\w+)":', shown)
    assert [key for key in status if key not in told] == []
    assert list(status["process"]) == told[-4:]
    assert list(status["pins"]) == ["wanted", "pinned"]
    assert set(told) == {
        *status,
        *status["process"],
        *status["pins"],
        *status["validation"],
        "peerId",
        "region",
        "root",
    }


def test_every_error_of_the_contract_is_in_the_table() -> None:
    told = {
        (int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)
    }
    assert {row[-2:] for row in TABLE} <= told
