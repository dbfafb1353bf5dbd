"""A list with verdicts says of each contribution what its votes and this node's record come to."""

from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import MANIFEST, SIGNERS, append, fresh_log

from peersdb.core.ballots import VERDICTS, Vote, create_ballot, log_hash
from peersdb.core.cid import CID, ipfs_path
from peersdb.core.quorum import Tally, count
from peersdb.store.ballots import BallotStore
from peersdb.store.contents import Contents
from peersdb.store.judged import JudgedContents
from peersdb.store.tables import Validation, Validations

LOG = log_hash(MANIFEST.address)
VALIDATOR = b"v" * 32
PLAN = b"plan"
FILES = 30

votes = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.dictionaries(st.integers(1, FILES), st.sampled_from(VERDICTS), min_size=1, max_size=6),
    ),
    max_size=8,
)


def path(number):
    return ipfs_path(CID.of(str(number).encode()))


async def say(store, said):
    """Keeps what voters say, one ballot after the other."""
    tips = {}
    for who, verdicts in said:
        seq, prev = tips.get(who, (0, b""))
        made = [
            Vote(CID.of(str(number).encode()), "csv/1", VALIDATOR, one) for number, one in verdicts.items()
        ]
        ballot = create_ballot(SIGNERS[who], LOG, epoch=1, seq=seq + 1, prev=prev, ts=1, votes=made)
        tips[who] = ballot.seq, ballot.hash
        assert await store.keep([ballot]) == [ballot]


@settings(max_examples=25)
@given(
    said=votes,
    listed=st.sets(st.integers(1, FILES), min_size=1),
    weight=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    after=st.integers(0, 3),
    limit=st.integers(1, FILES),
)
async def test_tallies_are_what_the_votes_come_to(said, listed, weight, after, limit):
    weights = {signer.peer_id: weight[place] for place, signer in enumerate(SIGNERS) if weight[place]}
    async with fresh_log() as log:
        database = log._database
        ballots, contents = BallotStore(database), JudgedContents(database)
        await say(ballots, said)
        for number in sorted(listed):  # what was voted on and is not in the log lies between
            await append(log, number=number)
        found, last = await contents.arrivals(after, limit, None, weights, PLAN)
        assert ([one.row for one in found], last) == await Contents(database).arrivals(after, limit)
        for one in found:
            assert one.tally == count(await ballots.verdicts(one.row.path), weights)
            (again,), _ = await contents.arrivals(0, 1, one.row.path, weights, PLAN)
            assert again == one


async def test_an_electorate_that_said_nothing_has_an_empty_tally():
    async with fresh_log() as log:
        await append(log, number=1)
        await say(BallotStore(log._database), [(0, {1: "valid"})])
        for weights, total in (({}, 0), ({"nobody": 2}, 2)):
            (one,), _ = await JudgedContents(log._database).arrivals(0, 9, None, weights, PLAN)
            assert one.tally == Tally(total=total)


async def test_a_record_counts_if_it_was_made_by_votes_or_by_what_judges_now():
    async with fresh_log() as log:
        await append(log, number=1)
        contents, records = JudgedContents(log._database), Validations(log._database)

        async def kept(plan):
            (one,), _ = await contents.arrivals(0, 9, None, {}, plan)
            return one.kept, one.own

        assert await kept(PLAN) == ("", False)
        await records.keep(Validation(path(1), True, 0, "csv/1", 1, "valid", PLAN, ""))
        assert (await kept(PLAN), await kept(b"other")) == (("valid", True), ("", False))
        await records.keep(Validation(path(1), False, 3, "", 2, "invalid", b"", ""))
        assert await kept(PLAN) == await kept(b"other") == ("invalid", False)
