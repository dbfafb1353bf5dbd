"""The CIDs that the load test looks for are those that a node gives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.cid import CHUNK, file_cid
from peersdb.core.unixfs import build_file


def test_one_block_is_its_own_root():
    # `ipfs add --cid-version=1 --raw-leaves` of an empty file.
    assert file_cid(b"") == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@given(st.binary(max_size=2000))
def test_small_files_have_the_nodes_cid(data):
    assert file_cid(data) == str(build_file(data)[0])


@settings(max_examples=10, deadline=None)
@given(st.integers(-2, 2), st.integers(1, 4), st.binary(min_size=1, max_size=64))
def test_files_around_whole_chunks_have_the_nodes_cid(offset, chunks, pattern):
    size = chunks * CHUNK + offset
    data = (pattern * (size // len(pattern) + 1))[:size]
    assert file_cid(data) == str(build_file(data)[0])


def test_a_tree_of_two_levels_is_refused():
    class Huge(bytes):
        def __len__(self):
            return CHUNK * 1025

    with pytest.raises(ValueError, match="1 GiB"):
        file_cid(Huge())
