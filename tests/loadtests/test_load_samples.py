"""Raw samples: what is written is read back, and a damaged file is named."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.errors import ResultsError
from loadtests.samples import (
    NODE_COLUMNS,
    SAMPLE_COLUMNS,
    NodeSample,
    RowWriter,
    Sample,
    read_node_samples,
    read_samples,
)

# What a CSV cell can hold: no lone surrogates, no NUL; line ends are kept by quoting.
text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=20)
number = st.floats(0, 1e10, allow_nan=False)
samples = st.builds(
    Sample,
    *(
        number,
        text,
        text,
        text,
        text,
        text,
        number,
        number,
        number,
        st.integers(0, 10**12),
        st.booleans(),
        text,
        st.integers(0, 500),
    ),
)


@given(st.lists(samples, max_size=10))
def test_samples_read_back_exactly(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("samples") / "samples.csv"
    writer = RowWriter(path, SAMPLE_COLUMNS)
    for sample in found:
        writer.write(sample.row())
    writer.close()
    assert read_samples(path) == found


def test_node_samples_read_back(tmp_path):
    sample = NodeSample(1.5, "eu-0", "eu", 98_000_000, 12.5, 42, 3, 0)
    writer = RowWriter(tmp_path / "nodes.csv", NODE_COLUMNS)
    writer.write(sample.row())
    writer.close()
    assert read_node_samples(tmp_path / "nodes.csv") == [sample]


def test_rows_beyond_the_limit_and_after_the_end_are_counted(tmp_path):
    writer = RowWriter(tmp_path / "rows.csv", ["a"], limit=2)
    for _ in range(5):
        writer.write(["x"])
    writer.close()
    writer.write(["late"])
    assert (writer.written, writer.dropped) == (2, 4)
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["a"], ["x"], ["x"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n", "header"),
        ("", "header"),
        (",".join(SAMPLE_COLUMNS) + "\n1,2\n", "line 2: 2 columns"),
        (",".join(SAMPLE_COLUMNS) + "\nsoon,post,a,,eu,,1.0,0.0,0.0,0,1,,0\n", "not a Sample row"),
        (",".join(SAMPLE_COLUMNS) + "\n1.0,post,a,,eu,,1.0,0.0,0.0,0,yes,,0\n", "not a Sample row"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, message):
    path = tmp_path / "samples.csv"
    path.write_text(content)
    with pytest.raises(ResultsError, match=message):
        read_samples(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"cannot read .*nothing\.csv: No such file"):
        read_samples(tmp_path / "nothing.csv")


def test_the_response_time_counts_from_the_due_time():
    sample = Sample(0.0, "post", "a", "", "eu", "", 0.25, 1.5, 0.0, 0, ok=True, error="")
    assert sample.response == 1.75
