"""Laws of the validators of tables: csv, parquet, arrow, quality, drift."""

import csv
import io
import json
import math
import random
import statistics
import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import found
from pyarrow import parquet

from peersdb.validators import OptionsError
from peersdb.validators.builtin import columnar, drift, quality, table_schema

SCHEMA = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"unique": True}},
        {"name": "name", "type": "string"},
        {"name": "score", "type": "number", "constraints": {"minimum": 0}},
    ]
}
cells = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


@pytest.fixture
def write(tmp_path):
    def written(data, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return written


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@settings(deadline=None, max_examples=40)
@given(
    table=st.integers(2, 5).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1))
)
def test_what_pythons_csv_writes_is_valid_and_a_row_too_short_is_not(place, table):
    width = len(table[0])
    text = io.StringIO()
    csv.writer(text).writerows([[f"c{at}" for at in range(width)], *table])
    path = place / "any.csv"
    path.write_text(text.getvalue(), newline="")
    assert found(table_schema.check, path, delimiter=",").verdict == "valid"
    path.write_text(text.getvalue() + "short\r\n", newline="")
    finding = found(table_schema.check, path, delimiter=",")
    assert (finding.verdict, finding.reason.split(":")[0]) == ("invalid", "missing-cell")


@pytest.mark.parametrize(
    ("data", "verdict", "reason"),
    [
        ("id,name,score\n1,a,0.5\n2,b,1\n", "valid", "2 rows"),
        ("\ufeffid;name;score\n1;a;0.5\n", "valid", "1 rows"),
        ("id,name,score\n1,a,x\n", "invalid", "type-error"),
        ("id,name,score\n1,a,-1\n", "invalid", "minimum"),
        ("id,name,score\n1,a,1\n1,b,1\n", "invalid", "unique"),
        ("id,name\n1,a\n", "invalid", "missing-label"),
        ("id,name,name\n1,a,1\n", "invalid", "name"),
        ("id,name,score\n1,a,1,9\n", "invalid", "extra-cell"),
        (b"id,name,score\n1,\xff,1\n", "invalid", "encoding-error"),
        (b"\x89PNG\r\n\x1a\n", "invalid", "encoding-error"),
        ("", "invalid", "empty"),
    ],
)
def test_a_table_schema_says_what_is_wrong_and_where(write, data, verdict, reason):
    finding = found(table_schema.check, write(data), schema=SCHEMA)
    assert finding.verdict == verdict
    assert reason in finding.reason


def test_without_a_schema_types_are_free_unless_they_are_to_be_inferred(write):
    path = write("a,b\n" + "1,2\n" * 200 + "x,2\n")
    assert found(table_schema.check, path).verdict == "valid"
    finding = found(table_schema.check, path, infer_types=True)
    assert (finding.verdict, "202" in finding.reason) == ("invalid", True)


def test_a_long_table_is_judged_by_its_first_rows_and_says_so(write):
    path = write("a,b\n" + "1,2\n" * 100 + "1\n")
    assert found(table_schema.check, path).verdict == "invalid"
    finding = found(table_schema.check, path, max_rows=50)
    assert (finding.verdict, finding.reason) == ("valid", "the first 50 rows")


def test_tabs_by_the_media_type(write):
    assert found(table_schema.check, write("a\tb,c\n1\t2\n", "t.tsv")).verdict == "valid"


def test_a_wrong_table_schema_is_the_options_fault(write):
    with pytest.raises(OptionsError, match="nonsense"):
        found(table_schema.check, write("a\n1\n"), schema={"fields": [{"name": "a", "type": "nonsense"}]})


@pytest.mark.parametrize(
    ("module", "check", "name"),
    [
        ("frictionless", table_schema.check, "t.csv"),
        ("pyarrow", columnar.check_parquet, "t.parquet"),
        ("pyarrow", columnar.check_arrow, "t.arrow"),
    ],
)
def test_without_the_library_it_abstains_and_says_what_to_install(write, monkeypatch, module, check, name):
    monkeypatch.setitem(sys.modules, module, None)
    heads = {"t.csv": b"a\n1\n", "t.parquet": b"PAR1", "t.arrow": b"ARROW1\0\0"}
    finding = found(check, write(heads[name], name))
    assert finding.verdict == "abstain"
    assert "pip install 'peersdb[validators]'" in finding.reason


def table(rows=1000):
    return pa.table({"id": pa.array(range(rows), pa.int64()), "name": [f"n{n}" for n in range(rows)]})


def columnar_file(place, kind):
    path = place / f"t.{kind}"
    if kind == "parquet":
        parquet.write_table(table(), path, row_group_size=100)
    else:
        make = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with make(path, table().schema) as sink:
            sink.write_table(table(), 100)
    return path, columnar.check_parquet if kind == "parquet" else columnar.check_arrow


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrows"])
def test_columns_are_as_named(tmp_path, kind):
    path, check = columnar_file(tmp_path, kind)
    assert found(check, path).reason == "1000 rows"
    assert found(check, path, schema={"id": "int64", "name": "string"}, exact=True).verdict == "valid"
    assert "not int32" in found(check, path, schema={"id": "int32"}).reason
    assert "no column 'x'" in found(check, path, schema={"x": "int32"}).reason
    assert "other columns: name" in found(check, path, schema={"id": "int64"}, exact=True).reason


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrows"])
def test_a_file_that_was_cut_is_invalid(tmp_path, kind):
    path, check = columnar_file(tmp_path, kind)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    assert found(check, path).verdict == "invalid"


@pytest.mark.parametrize(
    ("check", "name"), [(columnar.check_parquet, "Parquet"), (columnar.check_arrow, "Arrow")]
)
def test_another_kind_of_file_is_invalid_by_name(write, check, name):
    finding = found(check, write("a,b\n1,2\n", "t.parquet"))
    assert (finding.verdict, name in finding.reason) == ("invalid", True)


def forms(tmp_path, rows):
    """The same rows as CSV, lines of JSON and Parquet."""
    names = list(rows[0])
    text = io.StringIO()
    csv.writer(text).writerows([names, *([row[name] for name in names] for row in rows)])
    (tmp_path / "t.csv").write_text(text.getvalue())
    (tmp_path / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    return [tmp_path / f"t.{kind}" for kind in ("csv", "jsonl", "parquet")]


def test_missing_values_and_rows_twice_are_counted_in_every_form(tmp_path):
    rows = [{"a": 1, "b": None if n < 25 else n, "c": "x"} for n in range(100)]
    for path in forms(tmp_path, rows):
        assert found(quality.check, path, max_missing=0.25).verdict == "valid"
        finding = found(quality.check, path, max_missing=0.24)
        assert (finding.verdict, "'b': 25.0%" in finding.reason) == ("invalid", True)
        assert found(quality.check, path, max_missing=0.24, columns=["a"]).verdict == "valid"
        assert found(quality.check, path, max_duplicates=0.24).verdict == "valid"
        assert "23.0%" not in found(quality.check, path, max_duplicates=0.2).reason
        assert found(quality.check, path, max_duplicates=0.2).verdict == "invalid"
        assert found(quality.check, path, max_duplicates=0.5, columns=["zz"]).verdict == "invalid"


def test_words_that_say_missing(write):
    path = write("a,b\nNA,1\n2,1\n")
    assert found(quality.check, path, max_missing=0.4).verdict == "valid"
    assert found(quality.check, path, max_missing=0.4, missing_values=["NA"]).verdict == "invalid"


@pytest.mark.parametrize("check", [quality.check, drift.check])
def test_needed_options_are_asked_for(write, check):
    with pytest.raises(OptionsError, match="give"):
        found(check, write("a\n1\n"))


counts = st.lists(st.integers(0, 1000), min_size=2, max_size=10).filter(any)


@settings(deadline=None)
@given(found_=counts, reference=counts)
def test_the_stability_index_is_none_for_itself_never_negative_and_symmetric(found_, reference):
    size = min(len(found_), len(reference))
    a, b = [*found_[:size], 1], [*reference[:size], 1]
    index = drift.population_stability(a, b)
    assert drift.population_stability(a, a) == 0
    assert index >= 0
    assert math.isclose(index, drift.population_stability(b, a), abs_tol=1e-12)


def test_the_stability_index_of_a_known_case():
    assert math.isclose(
        drift.population_stability([30, 70], [50, 50]), 0.2 * math.log(0.7 / 0.3), rel_tol=1e-9
    )


samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


@settings(deadline=None)
@given(one=samples, other=samples)
def test_the_distance_is_that_of_the_distribution_functions(one, other):
    def below(sample, value):
        return statistics.fmean(item <= value for item in sample)

    slow = max(abs(below(one, value) - below(other, value)) for value in (*one, *other))
    assert math.isclose(drift.kolmogorov_smirnov(one, other), slow, abs_tol=1e-12)
    assert drift.kolmogorov_smirnov(one, one) == 0


def test_a_shifted_column_drifts_and_the_same_does_not(tmp_path):
    chance = random.Random(7)
    sample = [chance.gauss(0, 1) for _ in range(500)]
    edges = [-1.0, 0.0, 1.0]
    bins = [
        sum(low <= item < high for item in sample)
        for low, high in zip([-9, *edges], [*edges, 9], strict=True)
    ]
    same = forms(tmp_path, [{"x": chance.gauss(0, 1)} for _ in range(1000)])
    references = {"psi": {"edges": edges, "counts": bins}, "ks": {"sample": sample}}
    for name, reference in references.items():
        options = {"column": "x", "statistic": name, "reference": reference}
        for path in same:
            assert found(drift.check, path, **options).verdict == "valid"
    shifted = forms(tmp_path, [{"x": chance.gauss(1, 1)} for _ in range(1000)])
    for name, reference in references.items():
        options = {"column": "x", "statistic": name, "reference": reference}
        for path in shifted:
            assert found(drift.check, path, **options).verdict == "invalid"
    assert found(
        drift.check, shifted[0], column="x", statistic="ks", reference=references["ks"], max_distance=0.9
    )


def test_a_column_that_is_not_there_or_no_number_is_invalid(write):
    path = write("a,b\nx,1\n")
    reference = {"edges": [0], "counts": [1, 1]}
    assert "no column" in found(drift.check, path, column="c", reference=reference).reason
    assert "no number" in found(drift.check, path, column="a", reference=reference).reason
