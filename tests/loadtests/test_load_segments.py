"""The parts of a run: every cell as often as was asked, and who takes part in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.errors import OptionsError
from loadtests.segments import Cell, Segment, parse_matrix, plan, stage, taking_part
from loadtests.targets import Node

counts = st.lists(st.integers(1, 6), max_size=3, unique=True)
NODES = [
    Node(f"{region}-{number}", f"http://{region}:{number}", region)
    for number in range(1, 4)
    for region in ("eu", "us", "asia")
]


@given(counts, counts, st.lists(st.integers(66, 9999), max_size=3, unique=True), st.integers(1, 5))
def test_every_combination_runs_as_often_as_asked_and_repeats_go_over_all(regions, peers, sizes, repeats):
    cells = parse_matrix(json.dumps({"regions": regions, "peers": peers, "payloadSizes": sizes}))
    assert len(set(cells)) == len(cells) == max(1, len(regions)) * max(1, len(peers)) * max(1, len(sizes))
    segments = plan(cells, repeats)
    assert [segment.index for segment in segments] == list(range(len(cells) * repeats))
    for turn in range(repeats):
        part = segments[turn * len(cells) : (turn + 1) * len(cells)]
        assert [segment.cell for segment in part] == cells
        assert {segment.repeat for segment in part} == {turn + 1}


@given(st.builds(Cell, *(st.none() | st.integers(1, 5) for _ in range(2))), st.permutations(NODES))
def test_the_first_regions_take_part_with_their_first_members(cell, nodes):
    found = taking_part(nodes, cell)
    regions = list(dict.fromkeys(node.region for node in nodes))
    assert {node.region for node in found} == set(regions[: cell.regions])
    for region in regions[: cell.regions]:
        own = [node for node in nodes if node.region == region]
        assert [node for node in found if node.region == region] == own[: cell.peers]
    assert found == [node for node in nodes if node in found], "the order stays"


@given(
    st.builds(Segment, st.integers(0, 9), st.builds(Cell, st.none() | st.integers(1, 5)), st.integers(1, 3))
)
def test_a_segment_reaches_a_worker_whole(segment):
    assert Segment.from_message(json.loads(json.dumps(segment.message()))) == segment


def test_where_a_run_is_is_said_in_words():
    assert stage(plan([Cell(1), Cell(2)], 3)[4], 2, 3) == "repeat 3/3, cell 1/2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "no JSON"),
        ("[]", "an object"),
        ('{"colours": [1]}', "an object with some of"),
        ('{"regions": 3}', "a list"),
        ('{"regions": [0]}', "whole numbers from 1"),
        ('{"peers": [true]}', "whole numbers from 1"),
        ('{"payloadSizes": ["64 kB"]}', "no size"),
        ('{"payloadSizes": [5]}', "between 66 and"),
        ('{"payloadSizes": ["9999Mi"]}', "between 66 and"),
    ],
)
def test_what_is_no_matrix_is_refused(text, message):
    with pytest.raises(OptionsError, match=message):
        parse_matrix(text)


def test_more_parts_than_one_run_can_have_are_refused():
    with pytest.raises(OptionsError, match="more than 500"):
        plan([Cell()] * 101, 5)
