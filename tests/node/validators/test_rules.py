"""Which checks a file gets, what is wrong with rules, and every built-in in the sandbox as the rules choose it."""

import gzip
import io
import json
import zipfile

import psutil
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from peersdb.core.quorum import verdict_of
from peersdb.errors import SettingsError
from peersdb.validators.limits import Limits
from peersdb.validators.media import media_type, sniff
from peersdb.validators.rules import DEFAULT, HEAD, MAX_OPTIONS, Rules

HEADS = {
    "text/csv": b"a,b\n1,2\n3,4",
    "text/tab-separated-values": b"a\tb\n1\t2\n3\t4\n",
    "application/json": b' {"a": 1}',
    "application/x-ndjson": b'{"a": 1}\n{"a": 2}\n{"a"',
    "application/vnd.apache.parquet": b"PAR1\x15\x04",
    "application/zip": b"PK\x03\x04",
    "application/gzip": gzip.compress(b"x"),
    "text/plain": b"Dear reader, of this text\nno more is known.\n",
    "application/octet-stream": b"\x00\x01\x02",
    "application/x-empty": b"",
}
CHECKS = {
    "text/csv": ["size/1", "csv/1"],
    "text/tab-separated-values": ["size/1", "csv/1"],
    "application/json": ["size/1", "json/1"],
    "application/x-ndjson": ["size/1", "json/1"],
    "application/vnd.apache.parquet": ["size/1", "parquet/1"],
    "application/zip": ["size/1", "archive/1"],
    "application/gzip": ["size/1", "archive/1"],
}


@pytest.mark.parametrize("kind", HEADS)
def test_without_a_name_the_content_chooses(kind):
    assert sniff(HEADS[kind]) == kind
    checks = Rules.default().for_file("", HEADS[kind])
    assert [check.name for check in checks] == CHECKS.get(kind, ["size/1"])
    assert {check.media_type for check in checks} == {kind}


def test_the_name_chooses_before_the_content():
    png = b"\x89PNG\r\n\x1a\n"
    assert [check.name for check in Rules.default().for_file("data/T.CSV", png)] == ["size/1", "csv/1"]
    assert [check.name for check in Rules.default().for_file("notes.txt", HEADS["text/csv"])] == ["size/1"]
    assert (
        media_type("node.log", HEADS["text/csv"])
        == media_type("a.py", HEADS["application/json"])
        == "text/plain"
    )
    assert media_type("model.xyz", HEADS["application/zip"]) == "application/zip"
    assert media_type(".csv", b"") == "application/x-empty"


@given(st.text(), st.binary(max_size=HEAD))
def test_every_name_and_content_has_a_media_type_and_checks(name, head):
    assert media_type(name, head)
    assert Rules.default().for_file(name, head)[0].name == "size/1"


def test_patterns_are_of_name_path_and_media_type_and_later_options_hold():
    rules = Rules.parse(
        {
            "rules": [
                {"pattern": "*", "validators": [{"name": "size", "options": {"max_bytes": 9}}]},
                {
                    "pattern": ["logs/*", "text/pl*"],
                    "validators": ["json", {"name": "size", "options": {"max_bytes": 99}}],
                },
            ]
        }
    )
    assert [check.options for check in rules.for_file("a", b"")] == [{"max_bytes": 9}]
    assert [(c.name, c.options) for c in rules.for_file("LOGS/a", b"")] == [
        ("size/1", {"max_bytes": 99}),
        ("json/1", {}),
    ]
    assert len(rules.for_file("a.txt", b"")) == 2


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ("no", "rules: is str, not a list"),
        ({"rules": {}}, "rules: is dict, not a list"),
        ([1], "rules[0]: is int, not a mapping"),
        ([{}], "rules[0].pattern: is missing; rules[0].validators: is missing"),
        (
            [{"pattern": "*", "validators": [], "x": 1}],
            "rules[0].x: is unknown; there are pattern, validators",
        ),
        ([{"pattern": [], "validators": []}], "rules[0].pattern: is no text"),
        ([{"pattern": "*", "validators": "size"}], "rules[0].validators: is str, not a list"),
        ([{"pattern": "*", "validators": [{}]}], "rules[0].validators[0].name: is missing"),
        (
            [{"pattern": "*", "validators": ["sise"]}],
            "there is no validator 'sise'; there are archive, arrow, csv",
        ),
        (
            [{"pattern": "*", "validators": [{"name": "size", "options": []}]}],
            "options: is list, not a mapping",
        ),
        (
            [{"pattern": "*", "validators": [{"name": "size", "options": {"max_byte": 1, "min_bytes": -1}}]}],
            "options.max_byte: is unknown; there are max_bytes, media_types, min_bytes; rules[0].validators[0].options",
        ),
        (
            [
                {
                    "pattern": "*",
                    "validators": [{"name": "csv", "options": {"schema": {"x": "x" * MAX_OPTIONS}}}],
                }
            ],
            "options: 32",
        ),
        ([{"pattern": "*", "validators": ["size"] * 17}], "has 17 items, 16 are allowed"),
        ([{"pattern": "*", "validators": []}] * 101, "has 101 items, 100 are allowed"),
    ],
)
def test_every_fault_is_told_with_its_place(document, fault):
    with pytest.raises(SettingsError) as caught:
        Rules.parse(document)
    assert fault in str(caught.value)


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, '[{"pattern": 1e999}'])
def test_what_is_no_json_is_a_fault(text):
    with pytest.raises(SettingsError, match="no JSON"):
        Rules.read(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["rules", "pattern", "validators", "name", "options"]), x)
        ),
    )
)
def test_any_document_is_read_or_is_a_fault_of_the_settings(document):
    text = ""
    try:
        Rules.parse(document)
    except SettingsError as error:
        text = str(error)
    assert text[:16] in {"", "validation rules"}


def parquet_file():
    out = io.BytesIO()
    parquet.write_table(pa.table({"a": range(100_000), "b": [str(n % 7) for n in range(100_000)]}), out)
    return out.getvalue()


def arrow_file():
    out, table = io.BytesIO(), pa.table({"a": range(1000)})
    with pa.ipc.new_file(out, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as sink:
        sink.write_table(table)
    return out.getvalue()


def zip_file():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("a", b"x" * 1000)
    return out.getvalue()


GOOD = {
    "a.csv": b"a,b\n1,2\n",
    "a.tsv": b"a\tb\n1\t2\n",
    "a.json": json.dumps({"a": 1}).encode(),
    "a.jsonl": b'{"a": 1}\n{"a": 2}\n',
    "a.parquet": parquet_file(),
    "a.arrow": arrow_file(),
    "a.zip": zip_file(),
    "a.gz": gzip.compress(b"x" * 1000),
}


async def test_every_built_in_judges_good_and_broken_files_behind_all_limits(sandbox_in, tmp_path):
    rules = Rules.parse(
        [
            *DEFAULT,
            {
                "pattern": "a.json",
                "validators": [{"name": "json", "options": {"schema": {"type": "object"}}}],
            },
            {
                "pattern": ["*.csv", "*.tsv", "*.jsonl", "*.parquet"],
                "validators": [
                    {
                        "name": "quality",
                        "options": {"max_missing": 0.1, "max_duplicates": 0.5, "columns": ["a"]},
                    },
                    {
                        "name": "drift",
                        "options": {
                            "column": "a",
                            "reference": {"edges": [0], "counts": [0, 1]},
                            "max_psi": 1,
                        },
                    },
                ],
            },
        ]
    )
    async with sandbox_in(Limits()) as sandbox:
        for name, data in GOOD.items():
            path = tmp_path / name
            path.write_bytes(data)
            checks = rules.for_file(name, data[:HEAD])
            judgements = [await sandbox.run(check, path) for check in checks]
            assert {item.verdict for item in judgements} == {"valid"}, (name, judgements)
            assert len(judgements) >= 2
            path.write_bytes(data[:-4] + b"\n\xff\xff")
            broken = [await sandbox.run(check, path) for check in checks]
            assert verdict_of(item.verdict for item in broken) == "invalid", (name, broken)
            assert not [item for item in broken if item.verdict == "error"], (name, broken)
        # Forks of a process with threads can hang: none of the libraries may have started one.
        assert psutil.Process(sandbox.pid).num_threads() == 1
