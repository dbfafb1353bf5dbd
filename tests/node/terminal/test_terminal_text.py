"""Laws of what is printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.terminal.text import binary_size, printable, short_id, short_time, table


@given(st.text())
def test_whatever_a_peer_chose_is_one_line_of_visible_characters(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert printable(text) == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[2J", "\\x1b[2J"), ("a\tb\n", "a\\tb\\n"), ("\ud800", "\\ud800"), (None, ""), (7, "7")],
)
def test_what_would_steer_a_terminal_is_escaped(text: object, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1024.0 KiB"),
        (98_000_000, "93.5 MiB"),
        (1024**5, "1024.0 TiB"),
        (None, ""),
        ("much", "much"),
    ],
)
def test_sizes_are_shown_in_powers_of_1024(count: object, shown: str) -> None:
    assert binary_size(count) == shown


def test_ids_and_times_are_short_in_tables_and_odd_ones_are_left() -> None:
    assert short_id("12D3KooWNkeJPRAKZzWhmKUQV3fjxk5hf7ma4BL5x1LQXKvBvbZY") == "…XKvBvbZY"
    assert short_id("someone") == "someone"
    assert short_time("2025-06-01T12:00:00.123456789Z") == "2025-06-01 12:00:00"
    assert short_time("2025-06-01T12:00:00Z") == "2025-06-01 12:00:00"
    assert short_time("yesterday") == "yesterday"


def test_columns_of_a_table_are_aligned() -> None:
    assert table([("A", "B"), ("long", ""), ("x", "y")]) == ["A     B", "long", "x     y"]
