"""Laws of reading a list as it arrives."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.client.errors import BadAnswer
from peersdb.client.rows import MAX_ROW, objects

ROWS = st.lists(
    st.dictionaries(st.text(max_size=5), st.text(max_size=8) | st.none() | st.integers(), max_size=3)
)


def cut(data: bytes, places: set[int]) -> list[bytes]:
    """The data in pieces."""
    return [data[a:b] for a, b in pairwise([0, *sorted(p for p in places if p < len(data)), len(data)])]


@given(ROWS, st.sets(st.integers(1, 200)), st.booleans(), st.sampled_from([None, 1]))
def test_a_list_is_the_same_however_its_bytes_are_cut(
    rows: list[dict[str, Any]], places: set[int], ascii_only: bool, indent: int | None
) -> None:
    data = json.dumps(rows, ensure_ascii=ascii_only, indent=indent).encode(errors="surrogatepass")
    try:
        data.decode()
    except UnicodeDecodeError:  # a lone surrogate, which only its escape can carry
        data = json.dumps(rows, indent=indent).encode()
    assert list(objects(cut(data, places))) == rows


@given(ROWS, st.data())
def test_a_list_that_is_not_whole_is_never_taken_for_one(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    whole = json.dumps(rows).encode()
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(BadAnswer, match="not whole"):
        list(objects([part]))


def test_the_first_rows_are_there_before_the_last_ones_come() -> None:
    def chunks():
        yield b'[{"path":"a"},{"pa'
        raise AssertionError("asked for more than was needed")

    assert next(objects(chunks())) == {"path": "a"}


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        "[{},]",
        "[,{}]",
        "[{}{}]",
        "[{}]]",
        "[{}] {}",
        '"File uploaded"',
        "null",
        "[[]]",
        "<html>",
    ],
)
def test_what_is_no_list_of_objects_is_refused(text: str) -> None:
    with pytest.raises(BadAnswer):
        list(objects([text.encode()]))


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(BadAnswer, match="UTF-8"):
        list(objects([b'[{"a":"\xff"}]']))


def test_an_object_without_end_is_refused_before_memory_is() -> None:
    taken = 0

    def chunks():
        nonlocal taken
        yield b'[{"a":"'
        while True:
            taken += 65536
            yield b"x" * 65536

    with pytest.raises(BadAnswer):
        list(objects(chunks()))
    assert taken <= MAX_ROW + 2 * 65536
