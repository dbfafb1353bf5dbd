"""The repo directory: one node, one identity, and the original's files beside it."""

import json
import os
import stat

import pytest
from store_helpers import opened, seeded

from peersdb.core.identity import Signer
from peersdb.errors import CorruptData, RepoLocked, StorageError
from peersdb.store.repo import Repo
from peersdb.store.schema import VERSION


@pytest.fixture
def place(tmp_path):
    return tmp_path / "deep" / "repo"


def test_the_identity_is_made_once_and_for_its_owner_only(place):
    with opened(place, seed=5) as repo:
        assert repo.signer.peer_id == Signer.from_seed(b"\x05" * 32).peer_id
        mode = stat.S_IMODE((place / "identity.key").stat().st_mode)
        assert mode == 0o600
    with opened(place, seed=6) as repo:
        assert repo.signer.peer_id == Signer.from_seed(b"\x05" * 32).peer_id


def test_a_second_node_on_a_repo_is_refused_and_told_by_whom(place):
    with opened(place):
        with pytest.raises(RepoLocked, match=rf"process {os.getpid()}.*-repo"):
            Repo(place, seeded(1))
        with pytest.raises(RepoLocked):  # a refusal takes nothing away from the one who has it
            Repo(place, seeded(1))
    with opened(place):
        pass


def test_a_failed_start_gives_the_lock_back(place):
    with opened(place):
        pass
    (place / "identity.key").write_bytes(b"short")
    for _ in range(2):
        with pytest.raises(CorruptData, match=r"identity\.key.*5 bytes"):
            Repo(place, seeded(1))


def test_a_database_without_its_key_is_refused(place):
    with opened(place):
        pass
    (place / "identity.key").unlink()
    with pytest.raises(StorageError, match="put the key back"):
        Repo(place, seeded(1))
    assert not (place / "identity.key").exists()


def test_a_repo_of_a_newer_version_is_refused(place):
    with opened(place) as repo:
        repo.database._conn.execute(f"PRAGMA user_version={VERSION + 1}")
    with pytest.raises(StorageError, match=f"format {VERSION + 1}"):
        Repo(place, seeded(1))


def test_a_repo_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        Repo(tmp_path / "file", seeded(1))


def test_the_original_s_files_lie_beside_the_repo(place):
    with opened(place) as repo:
        for number in range(2):
            repo.write_config(f"/orbitdb/a{number}", "/orbitdb/b")
            repo.write_benchmark(b'{"minc":%d}' % number)
        expected = {
            "contributionsStoreAddr": "/orbitdb/a1",
            "validationsStoreAddr": "/orbitdb/b",
            "peerID": repo.signer.peer_id,
        }
    assert json.loads((place.parent / "repo_config").read_text()) == expected
    assert json.loads((place.parent / "repo_benchmark").read_text()) == {"minc": 1}
    assert sorted(path.name for path in place.parent.iterdir()) == ["repo", "repo_benchmark", "repo_config"]


def test_what_a_crash_left_of_a_file_beside_the_repo_is_written_over(place):
    with opened(place) as repo:
        (place.parent / "repo_config.tmp").write_bytes(b"half")
        repo.write_config("/orbitdb/a", "/orbitdb/b")
    assert not (place.parent / "repo_config.tmp").exists()
