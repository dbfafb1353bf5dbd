"""A ballot is its voter's own, in its place of the chain, and nothing else passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core import codec
from peersdb.core.ballots import (
    MAX_VALIDATORS,
    MAX_VOTES,
    VERDICTS,
    Vote,
    check_equivocation,
    create_ballot,
    decode_ballot,
    log_hash,
    verify,
    verify_chain,
    votes_on,
)
from peersdb.core.cid import CID
from peersdb.core.identity import Signer
from peersdb.errors import InvalidRecord

VOTER, OTHER = Signer.from_seed(b"\x01" * 32), Signer.from_seed(b"\x03" * 32)
LOG = log_hash("/orbitdb/zdpuAmXK6nUvYV7ag3gDjqy6FxJL71ZQDLci81uGTgmUk57b8")
FILE = CID.of(b"content")


def vote(number=0, verdict="valid", validator="csv/1"):
    return Vote(CID.of(b"%d" % number), validator, b"\x02" * 32, verdict)


ONE = (vote(),)


def ballot(seq=1, prev=b"", votes=ONE, *, signer=VOTER, epoch=7, log=LOG):
    return create_ballot(signer, log, epoch=epoch, seq=seq, prev=prev, ts=9, votes=votes)


def chain(length, signer=VOTER, epoch=7):
    made, prev = [], b""
    for seq in range(1, length + 1):
        made.append(ballot(seq, prev, (vote(seq),), signer=signer, epoch=epoch))
        prev = made[-1].hash
    return made


BALLOT = create_ballot(
    VOTER,
    LOG,
    epoch=7,
    seq=1,
    prev=b"",
    ts=9,
    votes=[
        Vote(FILE, "integrity/1", b"\x02" * 32, "valid"),
        Vote(FILE, "csv/1", b"\x04" * 32, "invalid"),
        Vote(CID.of(b"other"), "csv/1", b"\x04" * 32, "abstain"),
    ],
)
GOLDEN = (
    "a962747309636c6f675820ff99a39927d41c2ba2a4a02043d07df12ea15fdd030ce231cb3ef244571ebbac6373657101"
    "6373696758405570ebadec56a28f4ecfd970e7dc44716c11f0cab8fafe29835fc9057c861f85640a06913cc47ce44393"
    "17dd076b24b859b3d7986ded8611941e4532ec4018086470726576406565706f63680765766f74657258208a88e3dd74"
    "09f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c65766f7465738383d82a58250001551220ed7002b4"
    "39e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73000083d82a58250001551220ed7002b439e9ac84"
    "5f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73010183d82a58250001551220d9298a10d1b0735837dc4bd8"
    "5dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa01036a76616c696461746f727382826b696e746567726974792f3158"
    "20020202020202020202020202020202020202020202020202020202020202020282656373762f315820040404040404"
    "0404040404040404040404040404040404040404040404040404"
)


def test_the_bytes_of_a_ballot_do_not_change():
    assert BALLOT.data.hex() == GOLDEN
    assert decode_ballot(bytes.fromhex(GOLDEN)) == BALLOT
    verify(BALLOT)
    assert (BALLOT.peer_id, BALLOT.votes[1]) == (VOTER.peer_id, Vote(FILE, "csv/1", b"\x04" * 32, "invalid"))


@given(st.integers(0, len(BALLOT.data) * 8 - 1))
def test_any_flipped_bit_is_refused(bit):
    data = bytearray(BALLOT.data)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidRecord):
        verify(decode_ballot(bytes(data)))


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_by_name(data):
    with pytest.raises(InvalidRecord):
        decode_ballot(data)


@given(
    st.lists(
        st.builds(vote, st.integers(0, 3), st.sampled_from(VERDICTS), st.sampled_from(("csv/1", "json/1"))),
        min_size=1,
        unique_by=lambda one: (one.cid, one.validator),
    ),
    st.integers(0, 3),
)
def test_what_a_ballot_says_of_one_file_is_what_decoding_all_of_it_gives(votes, number):
    made = ballot(votes=votes)
    of = vote(number).cid
    assert votes_on(made.data, of) == (tuple(one for one in made.votes if one.cid == of), made.ts)


@given(
    st.one_of(
        st.binary(max_size=40),
        st.dictionaries(st.sampled_from(("validators", "votes", "ts")), st.integers(0, 9)).map(codec.encode),
    )
)
def test_what_is_no_ballot_says_nothing_of_a_file(data):
    with pytest.raises(InvalidRecord):
        votes_on(data, FILE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("voter", OTHER.public_key),
        ("voter", b"short"),
        ("log", log_hash("another")),
        ("log", None),
        ("epoch", -1),
        ("epoch", 8),
        ("seq", 0),
        ("seq", 2),
        ("seq", 2**63),
        ("prev", b"\x00" * 32),
        ("ts", "now"),
        ("validators", []),
        ("validators", [["", b"\x02" * 32]]),
        ("validators", [["x" * 129, b"\x02" * 32]]),
        ("validators", [["a\nb", b"\x02" * 32]]),
        ("validators", [["csv/1", b"\x02"]]),
        ("validators", [["csv/1", b"\x02" * 32]] * 2),
        ("validators", [[f"{n}/1", b"\x02" * 32] for n in range(MAX_VALIDATORS + 1)]),
        ("votes", []),
        ("votes", [[bytes(FILE), 9, 0]]),
        ("votes", [[bytes(FILE), 0, len(VERDICTS)]]),
        ("votes", [[b"no cid", 0, 0]]),
        ("votes", [[bytes(FILE), 0, 0], [bytes(FILE), 0, 1]]),
        ("votes", [[bytes(FILE), 0, True]]),
        ("votes", [[bytes(CID.of(b"%d" % n)), 0, 0] for n in range(MAX_VOTES + 1)]),
        ("sig", b"\x00" * 64),
        ("sig", b""),
        ("more", 1),
    ],
)
def test_a_field_that_is_not_as_signed_is_refused(field, value):
    fields = codec.decode(BALLOT.data, 10_000)
    with pytest.raises(InvalidRecord):
        verify(decode_ballot(codec.encode({**fields, field: value})))


def test_what_could_not_be_read_is_not_signed():
    for wrong in ((), (vote(verdict="maybe"),), (vote(), vote()), (vote(validator=""),)):
        with pytest.raises(InvalidRecord):
            ballot(votes=wrong)


@given(st.integers(1, 6), st.data())
def test_of_a_chain_the_last_signature_speaks_for_all(length, data):
    whole = chain(length)
    start = data.draw(st.integers(0, length - 1))
    tip = whole[start - 1].hash if start else b""
    verify_chain(whole[start:], LOG, start, tip)
    with pytest.raises(InvalidRecord):  # another place
        verify_chain(whole[start:], LOG, start + 1, tip)
    with pytest.raises(InvalidRecord):
        verify_chain(whole[start:], log_hash("another"), start, tip)
    forged = codec.decode(whole[start].data, 10_000)
    forged["votes"][0][2] = 1
    broken = [decode_ballot(codec.encode(forged)), *whole[start + 1 :]]
    with pytest.raises(InvalidRecord):
        verify_chain(broken, LOG, start, tip)
    if length - start > 1:
        with pytest.raises(InvalidRecord):  # one is left out
            verify_chain([whole[start], *whole[start + 2 :]][: length - start], LOG, start, b"\x00" * 32)


def test_chains_of_others_do_not_mix():
    mine, theirs, later = chain(2), chain(2, OTHER), chain(2, epoch=8)
    for second in (theirs[1], later[1]):
        with pytest.raises(InvalidRecord):
            verify_chain([mine[0], second], LOG, 0, b"")


def test_two_ballots_of_one_place_prove_their_voter_wrong():
    one, other = ballot(votes=[vote(1)]), ballot(votes=[vote(1, "invalid")])
    assert check_equivocation(one.data, other.data, LOG) == one
    assert check_equivocation(other.data, one.data, LOG) == other


def test_a_ballot_that_follows_another_than_the_one_of_its_place_proves_it_too():
    first, branch = ballot(votes=[vote(1)]), ballot(votes=[vote(1, "invalid")])
    after = ballot(2, branch.hash, [vote(2)])
    assert check_equivocation(first.data, after.data, LOG) == first


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ballot(), ballot()),
        (chain(2)[0], chain(2)[1]),
        (ballot(), ballot(signer=OTHER)),
        (ballot(), ballot(epoch=8, votes=[vote(1)])),
        (ballot(log=log_hash("another")), ballot(log=log_hash("another"), votes=[vote(1)])),
    ],
)
def test_what_contradicts_nothing_proves_nothing(one, other):
    with pytest.raises(InvalidRecord):
        check_equivocation(one.data, other.data, LOG)


def test_nobody_can_be_proved_wrong_by_what_he_did_not_sign():
    fields = codec.decode(ballot(votes=[vote(1)]).data, 10_000)
    fields["votes"][0][2] = 1
    for pair in (
        (ballot(votes=[vote(1)]).data, codec.encode(fields)),
        (codec.encode(fields), ballot(votes=[vote(1)]).data),
    ):
        with pytest.raises(InvalidRecord):
            check_equivocation(*pair, LOG)
