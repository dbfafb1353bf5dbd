"""Payloads: real files, each unique, still what they were for their readers."""

import io
import json
import random
import zipfile

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import workload
from loadtests.cid import file_cid
from loadtests.errors import WorkloadError
from loadtests.workload import Payloads, archives, default_dataset, read_dataset, salt

numbers = st.integers(0, 2**64 - 1)


@pytest.fixture
def folders(tmp_path):
    for name in ("a/1.csv", "a/deep/2.csv", "b/3.csv", "top.csv", ".hidden/4.csv", "a/.5.csv"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name\n{name}\n")
    (tmp_path / "data" / "empty.csv").touch()
    return tmp_path / "data"


@given(numbers, numbers)
def test_salts_differ_as_their_numbers_do(one, other):
    assert (salt(one) == salt(other)) == (one == other)
    assert len(salt(one)) == workload.SALT_BYTES


@given(numbers, st.recursive(st.integers() | st.text(), st.lists, max_leaves=5))
def test_json_stays_the_same_json(number, value):
    assert json.loads(json.dumps(value).encode() + salt(number)) == value


@given(numbers)
def test_a_csv_keeps_its_rows(number):
    content = b"city,temp\nOslo,3\nRome,20\n" + salt(number)
    rows = list(pd.read_csv(io.BytesIO(content)).itertuples(index=False, name=None))
    assert rows == [("Oslo", 3), ("Rome", 20)]


def test_payloads_are_unique_and_carry_their_cid():
    payloads = Payloads(default_dataset(), random.Random(1))
    found = [payloads.next() for _ in range(50)]
    assert len({payload.cid for payload in found}) == 50
    assert all(file_cid(payload.data) == payload.cid for payload in found)
    assert len({payload.name for payload in found}) > 5


def test_a_seed_repeats_the_payloads():
    one, other = (Payloads(default_dataset(), random.Random(7)) for _ in range(2))
    assert [one.next() for _ in range(5)] == [other.next() for _ in range(5)]


@pytest.mark.parametrize("size", [workload.SALT_BYTES, 1024, 3_000_000])
def test_a_size_is_kept_to_the_byte(size):
    payloads = Payloads(default_dataset(), random.Random(1), size=size)
    assert {len(payloads.next().data) for _ in range(3)} == {size}


@pytest.mark.parametrize("size", [0, workload.SALT_BYTES - 1, workload.MAX_FILE + 1])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(WorkloadError, match="bytes"):
        Payloads(default_dataset(), random.Random(1), size=size)


def test_the_default_data_sets_are_real_csv_and_json():
    dataset = default_dataset()
    assert dataset.name == "vega_datasets"
    assert {"seattle-weather.csv", "cars.json"} <= {file.name for file in dataset.files}
    assert dataset.size > 500_000


def test_hidden_and_empty_files_are_left_out(folders):
    assert [file.name for file in read_dataset(folders).files] == [
        "a/1.csv",
        "a/deep/2.csv",
        "b/3.csv",
        "top.csv",
    ]


def test_files_that_a_command_cannot_carry_are_named(folders, monkeypatch):
    (folders / "large.csv").write_bytes(b"x" * 100)
    monkeypatch.setattr(workload, "MAX_FILE", 99)
    dataset = read_dataset(folders)
    assert dataset.skipped == ("large.csv",)
    assert "large.csv" not in {file.name for file in dataset.files}


def test_a_data_set_without_files_is_refused(tmp_path):
    with pytest.raises(WorkloadError, match="no file of"):
        read_dataset(tmp_path)
    with pytest.raises(WorkloadError, match="no directory"):
        read_dataset(tmp_path / "missing")


def test_folders_are_the_groups_where_there_are_folders(folders):
    groups = {name: [file.name for file in files] for name, files in read_dataset(folders).groups()}
    assert groups == {"a": ["a/1.csv", "a/deep/2.csv"], "b": ["b/3.csv"]}


def test_files_are_the_groups_where_there_are_none(folders):
    assert [name for name, _ in read_dataset(folders / "b").groups()] == ["3"]


def test_the_evaluation_posts_the_whole_then_each_group(folders):
    found = list(archives(read_dataset(folders), random.Random(1)))
    assert [payload.name for payload in found] == ["data.zip", "data-a.zip", "data-b.zip"]
    whole = zipfile.ZipFile(io.BytesIO(found[0].data))
    assert whole.namelist() == ["a/1.csv", "a/deep/2.csv", "b/3.csv", "top.csv"]
    assert whole.read("b/3.csv") == (folders / "b" / "3.csv").read_bytes()


def test_the_evaluation_run_twice_posts_other_bytes(folders):
    dataset = read_dataset(folders)
    one, other = ([payload.cid for payload in archives(dataset, random.Random(seed))] for seed in (1, 2))
    assert not set(one) & set(other)


def test_an_archive_that_a_command_cannot_carry_is_refused(folders, monkeypatch):
    monkeypatch.setattr(workload, "MAX_FILE", 99)
    with pytest.raises(WorkloadError, match=r"data\.zip"):
        next(archives(read_dataset(folders), random.Random(1)))


def test_a_file_that_went_away_is_named(folders):
    dataset = read_dataset(folders / "b")
    (folders / "b" / "3.csv").unlink()
    with pytest.raises(WorkloadError, match=r"3\.csv"):
        Payloads(dataset, random.Random(1)).next()
