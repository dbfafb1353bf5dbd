"""What the shell answers, over a real node: pages of a table go on as one, large files stream, options work."""

import pytest
import trio
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from service_helpers import world

from peersdb.api import screen
from peersdb.api.answers import PIECE, Answers
from peersdb.api.commands import Commands
from peersdb.api.prompt import ShellCompleter
from peersdb.api.screen import Screen
from peersdb.errors import BadRequest


@pytest.fixture
async def commands(tmp_path):
    async with world(tmp_path) as made:
        yield Commands(await made.start("root", root=True))


async def test_a_table_of_many_pages_has_one_heading_and_aligned_columns(commands, monkeypatch, capsys):
    monkeypatch.setattr(screen, "PAGE", 3)
    for number in range(9):
        await commands.post(b"x" * 10**number if number < 5 else bytes([number]), f"file {number}")
    capsys.readouterr()
    await Screen(commands, print).give("query", [])
    heading, rule, *rows = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert set(rule) == {"─"}
    assert [row.split()[-1] for row in rows] == [str(number) for number in range(9)]
    assert {row.index("file") for row in rows} == {heading.index("NAME")}


async def test_a_file_of_many_pieces_is_shared_whole_and_told_piece_by_piece(commands, tmp_path):
    for size in (0, 1, PIECE - 1, PIECE, 3 * PIECE + 1):
        file = tmp_path / "file"
        file.write_bytes(content := bytes(size))
        said = []
        await Answers(commands, said.append).give("post", [str(file)])
        assert said == ["File uploaded"]
        newest = (await commands.node.contributions.arrivals(0, 100))[0][-1]
        assert (newest.size, newest.name) == (size, "file")
        _, target = await commands.node.contributions.get(newest.path)
        assert await trio.Path(target).read_bytes() == content


async def test_options_of_query_work_in_a_script_too(commands):
    for content in (b"a", b"b", b"c"):
        await commands.post(content)
    said = []
    await Answers(commands, said.append).give("query", ["limit=2"])
    assert len(said[0].splitlines()) == 2
    with pytest.raises(BadRequest, match="limit is 1 to"):
        await Answers(commands, said.append).give("query", ["limit=0"])


def completions(text, known=()):
    found = ShellCompleter(lambda _start: known).get_completions(Document(text), CompleteEvent())
    return [(one.text, one.start_position) for one in found]


def test_commands_complete_by_their_beginning():
    assert completions("be") == [("benchmark", -2)]
    assert ("post", -1) in completions("  p")
    assert len(completions("")) == 11
    assert completions("nothing") == completions("peers ") == completions("connect x") == []


@pytest.mark.parametrize("typed", ["get ", "get /ip", "get bafk", "isvalid  /ipfs/bafk"])
def test_a_known_path_takes_the_place_of_what_was_typed_of_it(typed):
    word = typed.split(" ")[-1]
    assert completions(typed, [("/ipfs/bafkreia", "name")]) == [("/ipfs/bafkreia", -len(word))]


def test_files_complete_as_the_shell_reads_them(tmp_path):
    (tmp_path / "my data (1).csv").touch()
    for typed, rest in (
        ("my", r"\ data\ \(1\).csv"),
        (r"my\ d", r"ata\ \(1\).csv"),
        (r"my\ ", r"data\ \(1\).csv"),
    ):
        assert completions(f"post {tmp_path}/{typed}") == [(rest, 0)]
