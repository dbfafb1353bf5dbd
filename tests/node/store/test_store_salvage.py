"""A damaged database loses what lay on the damaged pages, and nothing else."""

import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import MANIFEST, SIGNERS, Voter, block, opened, payload, validation

from peersdb.core.ballots import decode_ballot
from peersdb.core.identity import Signer
from peersdb.core.records import create_record
from peersdb.errors import ShuttingDown
from peersdb.store import repair
from peersdb.store.ballots import BallotStore
from peersdb.store.blocks import insert_rows
from peersdb.store.log import LogStore
from peersdb.store.pages import PAGE, Pages, Source
from peersdb.store.schema import SCHEMA
from peersdb.store.tables import Members, pin, record_validation, want

OWN = SIGNERS[0]
LIAR = Signer.from_seed(bytes([77]) * 32)
#: Tables whose rows are compared; the last version of each row is what counts.
TABLES = (
    "log",
    "entries",
    "heads",
    "writers",
    "identities",
    "blocks",
    "pins",
    "pin_counts",
    "validations",
    "members",
    "voters",
    "voter_chains",
)


async def fill(repo, entries=120):
    """A log of two writers with all tables in use."""
    store = LogStore(repo.database)
    await store.create(MANIFEST)
    await store.mark_synced()
    votes, voters = BallotStore(repo.database), [Voter(signer) for signer in SIGNERS]
    for number in range(1, entries + 1):
        signer = SIGNERS[number % 2]
        small = block(random.Random(number).choice((40, 900, 1500, 6000, 16_000)), number)

        def extra(conn, entry, small=small, number=number):
            path = entry.contribution.path
            insert_rows(conn, [small])
            pin(conn, path) if number % 3 else want(conn, [path])
            record_validation(conn, validation(path, number))

        await store.append(signer, payload(signer, number), extra)
        await votes.keep([voters[number % 3].says((number, number % 4), (number // 2, 1))])
    records = [
        create_record(Signer.from_seed(bytes([n]) * 32), (f"/ip4/10.0.0.{n}/tcp/4001",), n, False, "eu")
        for n in range(1, 30)
    ]
    await Members(repo.database).keep(records)
    one, other = (Voter(LIAR).says((1, verdict)) for verdict in (0, 1))
    await votes.keep([one])
    await votes.disqualify(one.data, other.data)


def dump(path):
    """All rows. An identity has the form of a block, so a rebuilt database has it in both tables: here it is in one."""
    with sqlite3.connect(path) as conn:
        rows = {table: set(conn.execute(f"SELECT * FROM {table}")) for table in TABLES}  # noqa: S608
        # The numbers of voters and files may be other ones.
        names = dict(conn.execute("SELECT id, key FROM voters"))
        ballots = set(conn.execute("SELECT data FROM ballots"))
        votes = conn.execute(
            "SELECT path, peer, verdict, epoch, seq FROM votes, voted, voters"
            " WHERE file = voted.id AND voter = voters.id"
        )
        rows["votes"] = set(votes)
    rows["blocks"] -= rows["identities"]
    rows["voters"] = {row[1:] for row in rows["voters"]}
    rows["voter_chains"] = {(names[row[0]], *row[1:]) for row in rows["voter_chains"]}
    return {**rows, "ballots": ballots}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A whole database file, without a write-ahead log."""
    folder = tmp_path_factory.mktemp("whole")
    with opened(folder / "repo") as repo:
        trio.run(fill, repo)
    return folder / "repo" / "peersdb.sqlite"


@pytest.fixture(scope="module")
def whole(original):
    return dump(original)


def roots():
    with sqlite3.connect(":memory:") as conn:
        conn.executescript(SCHEMA)
        return dict(conn.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall())


def make(path, stopped=lambda: False):
    with path.open("rb") as file:
        return repair.rebuild(path, file.fileno(), OWN.identity, stopped, lambda _found: None)


def rebuild(path):
    found = make(path)
    repair.swap(path, "now")
    with sqlite3.connect(path) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return found


def copy(original, folder):
    path = folder / "peersdb.sqlite"
    shutil.copy(original, path)
    return path


def damage(path, number, data=None, at=0):
    """Writes over a page, as a whole or from a place on."""
    with path.open("r+b") as file:
        file.seek((number - 1) * PAGE + at)
        file.write(os.urandom(PAGE) if data is None else data)


def pages_of(path):
    data = path.read_bytes()
    return Pages(Source(lambda start, size: data[start : start + size], len(data)))


def test_every_row_of_a_whole_database_is_found_and_the_new_one_is_the_same(original, whole, tmp_path):
    path = copy(original, tmp_path)
    found = rebuild(path)
    assert (found.entries, found.lost, found.missing, found.damaged) == (120, (), 0, ())
    new = dump(path)
    # Whether a full replica looked at an entry already is asked again.
    assert {row[:-1] for row in new.pop("log")} == {row[:-1] for row in whole["log"]}
    assert new == {table: rows for table, rows in whole.items() if table != "log"}
    assert (tmp_path / "peersdb.sqlite.damaged-now").read_bytes() == original.read_bytes()


def test_what_only_the_write_ahead_log_has_is_found(tmp_path):
    with opened(tmp_path / "repo") as repo:
        trio.run(fill, repo)
        source = tmp_path / "repo" / "peersdb.sqlite"
        path = copy(source, tmp_path)
        shutil.copy(f"{source}-wal", f"{path}-wal")
        expected = dump(source)
    assert path.stat().st_size < 10 * PAGE  # all of it lay there
    with Path(f"{path}-wal").open("ab") as wal:
        wal.write(os.urandom(2 * PAGE))  # a commit that was cut
    assert rebuild(path).entries == 120
    assert dump(path)["entries"] == expected["entries"]
    assert (tmp_path / "peersdb.sqlite.damaged-now-wal").exists()
    assert not Path(f"{path}-wal").exists()


@pytest.mark.parametrize("root", sorted(roots()), ids=str)
def test_the_root_of_a_tree_costs_the_rows_on_it_alone(original, whole, tmp_path, root):
    path = copy(original, tmp_path)
    pages = pages_of(path)
    number = roots()[root]
    on_it = list(pages.records(number))
    damage(path, number)
    found = rebuild(path)
    assert f"{root}: page {number}" in found.damaged
    new = dump(path)
    assert found.entries == len(new["entries"]) == 120 - sum(len(record.values) == 13 for record in on_it)
    assert len(whole["blocks"] - new["blocks"]) <= sum(len(record.values) == 2 for record in on_it)
    assert {row[:3] for row in new["log"]} == {
        row[:3] for row in whole["log"]
    }  # its manifest is in the blocks
    assert new["entries"] <= whole["entries"]


def test_the_first_page_costs_nothing(original, whole, tmp_path):
    path = copy(original, tmp_path)
    damage(path, 1)
    assert rebuild(path).damaged == ("schema: page 1",)
    new = dump(path)
    assert all(new[table] == whole[table] for table in TABLES if table != "log")


def leaves(path, columns):
    """The pages that hold rows of so many columns."""
    pages = pages_of(path)
    found = {
        number: [record for record in pages.records(number) if len(record.values) == columns]
        for number in range(1, pages.count + 1)
    }
    return {number: records for number, records in found.items() if records}


def test_entries_on_a_damaged_page_are_named_by_the_indexes(original, whole, tmp_path):
    path = copy(original, tmp_path)
    number, rows = sorted(leaves(path, 13).items())[5]
    damage(path, number)
    found = rebuild(path)
    digests = {record.values[1] for record in rows}
    assert (found.entries, found.missing) == (120 - len(rows), len(rows))
    assert {one.digest for one in found.lost} == digests
    by_digest = {row[1]: row for row in whole["entries"]}
    for one in found.lost:
        assert one.path == by_digest[one.digest][6]
        assert one.own == (by_digest[one.digest][3] == OWN.public_key)
    assert f"entries: page {number}" in found.damaged
    new = dump(path)
    assert whole["entries"] - new["entries"] == {by_digest[digest] for digest in digests}
    assert new["blocks"] == whole["blocks"]
    ((count, epoch),) = ((row[4], row[7]) for row in new["log"])
    assert (count, epoch) == (120 - len(rows), 0)  # the chain's end is here, so it goes on


def test_a_lost_end_of_this_nodes_chain_begins_a_new_epoch(original, tmp_path):
    path = copy(original, tmp_path)
    number = max(leaves(path, 13))
    own = [r for r in leaves(path, 13)[number] if r.values[3] == OWN.public_key]
    assert own, "the last page has one of this node's"
    damage(path, number)
    rebuild(path)
    ((_, *row),) = dump(path)["log"]
    assert row[6] == 1


def test_votes_are_made_anew_of_the_ballots_whatever_else_of_them_is_lost(original, whole, tmp_path):
    path = copy(original, tmp_path)
    for name in ("voters", "voter_chains", "voted", "voted_path", "votes"):
        damage(path, roots()[name])
    rebuild(path)
    new = dump(path)
    for table in ("ballots", "votes", "voter_chains"):
        assert new[table] == whole[table] != set(), table
    assert len(whole["voters"] - new["voters"]) == 1  # who contradicted himself: peers have the proof


def test_of_each_chain_the_ballots_before_the_first_lost_one_are_kept(original, whole, tmp_path):
    path = copy(original, tmp_path)
    pages = {
        number: {row.values[4] for row in rows if isinstance(row.values[4], bytes)}
        for number, rows in leaves(path, 5).items()
    }
    number = sorted(number for number, ballots in pages.items() if ballots)[2]
    damage(path, number)
    rebuild(path)
    new = dump(path)
    first_lost = {}
    for ballot in map(decode_ballot, pages[number]):
        first_lost[ballot.voter] = min(ballot.seq, first_lost.get(ballot.voter, ballot.seq))
    assert len(first_lost) == len(SIGNERS)
    assert new["ballots"] == {
        (data,)
        for (data,) in whole["ballots"]
        if (one := decode_ballot(data)).seq < first_lost.get(one.voter, one.seq + 1)
    }
    assert 0 < len(new["votes"]) < len(whole["votes"])
    assert {row[2] for row in new["voter_chains"]} == {seq - 1 for seq in first_lost.values()}
    assert new["entries"] == whole["entries"]


@pytest.mark.parametrize("column", ["digest", "path", "created", "data"])
def test_bytes_that_changed_inside_a_row_do_not_become_its_truth(original, whole, tmp_path, column):
    path = copy(original, tmp_path)
    number, rows = sorted(leaves(path, 13).items())[7]
    row = rows[0]
    page = pages_of(path).page(number)
    value = {"digest": 1, "path": 6, "created": 8, "data": 12}[column]
    stored = row.values[value] if isinstance(row.values[value], bytes) else row.values[value].encode()
    at = page.index(stored[:200])
    damage(path, number, bytes([page[at] ^ 0x40]), at)
    found = rebuild(path)
    new = dump(path)
    if column == "data":
        assert (found.entries, found.missing) == (119, 1)
        assert [one.digest for one in found.lost] == [row.values[1]]
        assert any(text.startswith("entries: row") for text in found.damaged)
    else:
        assert new["entries"] == whole["entries"]  # all else follows from the data


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_whatever_is_damaged_all_that_lay_elsewhere_is_kept(original, whole, seed):
    chance = random.Random(seed)
    folder = Path(original).parent / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = copy(original, folder)
    pages = pages_of(path)
    hit = {chance.randrange(1, pages.count + 1) for _ in range(chance.randrange(1, 6))}
    for number in hit:
        if chance.random() < 0.5:
            damage(path, number, chance.randbytes(PAGE))
        else:
            damage(path, number, chance.randbytes(chance.randrange(1, 200)), chance.randrange(PAGE - 200))
    untouched = _entries_without(pages_of(original), hit)
    found = rebuild(path)
    new = dump(path)
    assert {row[1] for row in new["entries"]} >= untouched
    assert new["entries"] <= whole["entries"]
    assert new["blocks"] <= whole["blocks"] | whole["identities"]
    assert new["identities"] <= whole["identities"]
    assert found.entries + found.missing >= 120 or not new["log"]


def _entries_without(pages, hit):
    """Digests of the entries no page of which was hit: their leaf, and the pages that the row goes on."""
    damaged = Pages(
        Source(
            lambda start, size: b"" if start // PAGE + 1 in hit else pages.page(start // PAGE + 1)[:size], 0
        )
    )
    return {
        record.values[1]
        for number in range(1, pages.count + 1)
        for record in damaged.records(number)
        if len(record.values) == 13
    }


def test_a_file_that_was_cut_gives_what_is_left(original, whole, tmp_path):
    path = copy(original, tmp_path)
    size = path.stat().st_size
    os.truncate(path, size // 2 + 1000)
    found = rebuild(path)
    assert 0 < found.entries < 120
    assert dump(path)["entries"] < whole["entries"]


@pytest.mark.parametrize(
    "content", [b"", os.urandom(5 * PAGE), b"\0" * 5 * PAGE], ids=["empty", "noise", "zeros"]
)
def test_a_file_with_nothing_in_it_gives_an_empty_database(tmp_path, content):
    path = tmp_path / "peersdb.sqlite"
    path.write_bytes(content)
    assert rebuild(path).entries == 0
    assert dump(path)["log"] == set()


def test_a_rebuild_that_is_stopped_leaves_all_as_it_was(original, tmp_path):
    path = copy(original, tmp_path)
    with path.open("ab") as file:
        file.write(bytes(PAGE * 300))
    before = path.read_bytes()
    with pytest.raises(ShuttingDown):
        make(path, lambda: True)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["peersdb.sqlite"]


def test_a_swap_that_was_cut_at_any_step_is_finished(original, tmp_path):
    for cut in range(4):
        folder = tmp_path / str(cut)
        folder.mkdir()
        path = copy(original, folder)
        Path(f"{path}-wal").write_bytes(b"an old log")
        make(path)
        if cut > 0:
            Path(f"{path}-wal").rename(f"{path}.damaged-now-wal")
        if cut > 1:
            path.rename(f"{path}.damaged-now")
        if cut > 2:
            Path(f"{path}.rebuilt").rename(path)
        repair.swap(path, "now")
        repair.swap(path, "later")
        names = sorted(found.name.removeprefix("peersdb.sqlite") for found in folder.iterdir())
        assert names == ["", ".damaged-now", ".damaged-now-wal"]
        assert len(dump(path)["entries"]) == 120


def test_only_the_newest_damaged_files_are_kept(original, tmp_path):
    path = copy(original, tmp_path)
    for stamp in ("20250101", "20250102", "20250103", "20250104", "20250105"):
        make(path)
        Path(f"{path}-wal").write_bytes(b"log")
        repair.swap(path, stamp)
    kept = sorted(found.name for found in tmp_path.glob("*.damaged-*") if not found.name.endswith("-wal"))
    assert kept == [f"peersdb.sqlite.damaged-2025010{day}" for day in (3, 4, 5)]
    assert len(list(tmp_path.glob("*-wal"))) == 3


def test_a_whole_file_is_sound_and_a_damaged_one_is_not(original, tmp_path):
    assert repair.sound(original)
    for number in (1, 2, 5, 20):
        path = copy(original, tmp_path)
        damage(path, number)
        assert not repair.sound(path)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        repair.sound(original, lambda conn: conn.set_progress_handler(lambda: 1, 1))
