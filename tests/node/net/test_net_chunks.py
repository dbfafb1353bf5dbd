"""Chunks: bytes come out in the order they went in, few of them are copied, and few pieces hold many."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.net.chunks import WHOLE, Chunks

HEADER = struct.Struct("!BHI")

sizes = st.one_of(st.integers(0, 40), st.sampled_from([WHOLE - 1, WHOLE, WHOLE + 1, 3 * WHOLE]))
puts = st.tuples(
    st.just("put"), st.binary(max_size=8), sizes, st.sampled_from([bytes, bytearray, memoryview])
)
steps = st.lists(
    st.one_of(
        puts,
        st.tuples(st.just("take"), sizes),
        st.tuples(st.just("pieces"), sizes),
        st.tuples(st.just("peek")),
        st.tuples(st.just("clear")),
    ),
    max_size=40,
)


@given(steps)
def test_bytes_come_out_as_they_went_in(steps):
    chunks, model = Chunks(), b""
    kept = []  # what was taken is looked at again at the end: nothing that came later may have changed it
    for what, *arguments in steps:
        if what == "put":
            seed, size, kind = arguments
            data = (seed + bytes(range(251)) * (size // 251 + 1))[:size]
            chunks.extend(kind(data))
            model += data
        elif what == "peek":
            expected = HEADER.unpack_from(model) if len(model) >= HEADER.size else None
            assert chunks.peek(HEADER) == expected
        elif what == "clear":
            chunks.clear()
            model = b""
        else:
            size = min(arguments[0], len(model))
            taken = chunks.take(size) if what == "take" else chunks.pieces(size)
            assert what == "pieces" or type(taken) is bytes
            kept.append((taken, model[:size]))
            model = model[size:]
        assert len(chunks) == len(model)
    assert chunks.take(len(model)) == model
    for taken, expected in kept:
        assert (taken if type(taken) is bytes else b"".join(taken)) == expected


def test_a_large_piece_is_handed_on_and_not_copied():
    message = bytes(4 * WHOLE)
    chunks = Chunks()
    chunks.extend(memoryview(message)[12:])
    assert [piece.obj for piece in chunks.pieces(2 * WHOLE)] == [message]
    chunks.clear()
    chunks.extend(message)
    assert chunks.take(len(message)) is message


@pytest.mark.parametrize("size", [1, 100, WHOLE - 1])
def test_small_pieces_of_large_messages_hold_neither_the_messages_nor_much_else(size):
    """A peer that sends one byte in each message of 64 KiB must not make its reader keep them all."""
    chunks = Chunks()
    for _ in range(1000):
        chunks.extend(memoryview(bytes(4 * WHOLE))[:size])
    pieces = chunks._pieces
    assert all(type(piece) is bytearray for piece in pieces)
    assert len(pieces) <= 1 + 1000 * size / WHOLE * 2
