"""Ballots are kept in their order, the newest judgement of a file counts, and tallies are what votes come to."""

from hypothesis import settings
from store_helpers import MANIFEST, SIGNERS, append, fresh_log

from peersdb.core.ballots import Vote, create_ballot, log_hash
from peersdb.core.cid import CID, ipfs_path
from peersdb.store import ballots as module
from peersdb.store.ballots import MAX_EPOCHS, BallotStore

LOG = log_hash(MANIFEST.address)
few = settings(max_examples=25)


def file(number):
    return CID.of(b"%d" % number)


def path(number):
    return ipfs_path(file(number))


def vote(number, verdict="valid", validator="csv/1"):
    return Vote(file(number), validator, b"\x02" * 32, verdict)


class Voter:
    """Signs ballots one after another."""

    def __init__(self, signer, epoch=1):
        self.signer, self.epoch, self.seq, self.prev = signer, epoch, 0, b""

    def says(self, *votes):
        self.seq += 1
        made = create_ballot(
            self.signer, LOG, epoch=self.epoch, seq=self.seq, prev=self.prev, ts=self.seq, votes=votes
        )
        self.prev = made.hash
        return made


async def verdicts(store, number):
    return await store.verdicts(path(number))


def opened():
    return fresh_log()


async def test_ballots_are_kept_in_their_order_alone_and_once():
    async with opened() as log:
        store, voter = BallotStore(log._database), Voter(SIGNERS[0])
        one, two, three = (voter.says(vote(number)) for number in range(3))
        assert await store.keep([two, three]) == []
        assert await store.keep([one]) == [one]
        assert await store.keep([one, two]) == [two]
        assert await store.keep([one, two, three]) == [three]
        assert await store.tips() == {(SIGNERS[0].public_key, 1): (3, three.hash)}
        assert await store.ballot((SIGNERS[0].public_key, 1), 2) == two.data


async def test_a_branch_is_not_kept():
    async with opened() as log:
        store, voter, twin = BallotStore(log._database), Voter(SIGNERS[0]), Voter(SIGNERS[0])
        await store.keep([voter.says(vote(1))])
        twin.says(vote(1, "invalid"))
        assert await store.keep([twin.says(vote(2))]) == []


async def test_the_newest_judgement_of_a_file_replaces_all_of_the_older():
    async with opened() as log:
        store, voter = BallotStore(log._database), Voter(SIGNERS[0])
        await store.keep([voter.says(vote(1, "invalid", "csv/1"), vote(1, "valid", "size/1"))])
        assert await verdicts(store, 1) == {SIGNERS[0].peer_id: "invalid"}
        await store.keep([voter.says(vote(1, "valid", "csv/2"))])
        assert await verdicts(store, 1) == {SIGNERS[0].peer_id: "valid"}
        (said,) = await store.said_of(path(1), 9)
        assert [one.validator for one in said.votes] == ["csv/2"]


async def test_of_epochs_that_come_in_any_order_the_newest_counts():
    async with opened() as log:
        store = BallotStore(log._database)
        new, old = Voter(SIGNERS[0], 9), Voter(SIGNERS[0], 3)
        await store.keep([new.says(vote(1, "valid"))])
        await store.keep([old.says(vote(1, "invalid"))])
        assert await verdicts(store, 1) == {SIGNERS[0].peer_id: "valid"}


async def test_old_epochs_are_forgotten():
    async with opened() as log:
        store = BallotStore(log._database)
        for epoch in range(1, MAX_EPOCHS + 3):
            await store.keep([Voter(SIGNERS[0], epoch).says(vote(epoch))])
        assert sorted(epoch for _, epoch in await store.tips()) == list(range(3, MAX_EPOCHS + 3))
        assert await verdicts(store, 1) == {}
        assert await verdicts(store, 3) != {}


async def test_a_voter_has_so_many_votes_for_each_entry_and_no_more(monkeypatch):
    monkeypatch.setattr(module, "VOTES_PER_ENTRY", 2)
    monkeypatch.setattr(module, "VOTES_BESIDE", 1)
    async with opened() as log:
        store, voter = BallotStore(log._database), Voter(SIGNERS[0])
        flood = [voter.says(vote(number)) for number in range(6)]
        assert await store.keep(flood) == flood[:1]
        await append(log)
        assert await store.keep(flood) == flood[1:3]


async def test_voters_beyond_the_limit_are_not_kept(monkeypatch):
    monkeypatch.setattr(module, "MAX_VOTERS", 1)
    async with opened() as log:
        store = BallotStore(log._database)
        assert await store.keep([Voter(SIGNERS[0]).says(vote(1))])
        assert await store.keep([Voter(SIGNERS[1]).says(vote(1))]) == []


async def test_who_contradicts_himself_is_out_for_good():
    async with opened() as log:
        store = BallotStore(log._database)
        one, other = Voter(SIGNERS[0]).says(vote(1)), Voter(SIGNERS[0]).says(vote(1, "invalid"))
        await store.keep([one])
        assert await store.disqualify(one.data, other.data)
        assert not await store.disqualify(one.data, other.data)
        assert await store.disqualified() == {SIGNERS[0].peer_id: (one.data, other.data)}
        assert (await store.tips(), await verdicts(store, 1)) == ({}, {})
        assert await store.keep([Voter(SIGNERS[0], 5).says(vote(1))]) == []
        assert await store.after({}, 10_000) == ([], False)


async def test_what_a_peer_lacks_comes_in_batches_until_it_lacks_nothing():
    async with opened() as log:
        store = BallotStore(log._database)
        voters = [Voter(signer) for signer in SIGNERS]
        made = [voter.says(vote(number)) for number in range(4) for voter in voters]
        for ballot in made:
            await store.keep([ballot])
        theirs, got, more = {(SIGNERS[0].public_key, 1): 3}, [], True
        while more:
            batch, more = await store.after(theirs, 600)
            assert batch
            for data in batch:
                ballot = next(one for one in made if one.data == data)
                place = (ballot.voter, ballot.epoch)
                assert theirs.get(place, 0) + 1 == ballot.seq
                theirs[place] = ballot.seq
            got += batch
        assert sorted(got) == sorted(
            one.data for one in made if one.voter != SIGNERS[0].public_key or one.seq == 4
        )


async def test_own_ballots_go_on_where_the_last_one_ended():
    async with opened() as log:
        store, signer = BallotStore(log._database), SIGNERS[0]

        async def cast(number, epoch, after):
            def make(seq, prev):
                return create_ballot(signer, LOG, epoch=epoch, seq=seq, prev=prev, ts=1, votes=[vote(number)])

            return await store.cast(make, signer.public_key, epoch, after)

        first, second, other = await cast(1, 5, 0), await cast(2, 5, 1), await cast(3, 6, 0)
        assert [(one.epoch, one.seq) for one in (first, second, other)] == [(5, 1), (5, 2), (6, 1)]
        assert second.prev == first.hash
        assert await cast(4, 5, 3) is None  # its end was lost: no place is given twice
        assert await store.epochs(signer.public_key) == 2
        assert dict(await store.said_by(signer.public_key, "", 9)).keys() == {path(1), path(2), path(3)}
        assert await store.own_on(signer.public_key, path(2)) == second.data
        assert await store.own_on(signer.public_key, path(9)) is None
