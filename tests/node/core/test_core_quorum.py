"""An outcome is what more than the quorum says, and once it is final no vote that is out can change it."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from peersdb.core.ballots import VERDICTS
from peersdb.core.quorum import Outcome, Tally, count, decide, verdict_of

peers = st.integers(0, 12).map(str)
weights = st.dictionaries(peers, st.integers(1, 9), max_size=12)
votes = st.dictionaries(peers, st.sampled_from(VERDICTS), max_size=12)
percents = st.integers(50, 99)


@given(votes, weights, percents)
def test_who_is_not_of_the_electorate_does_not_count(votes, weights, percent):
    counted = {voter: verdict for voter, verdict in votes.items() if voter in weights}
    assert count(votes, weights) == count(counted, weights)
    assert count(votes, weights).voters == len(counted)


@given(votes, weights, percents)
def test_an_outcome_is_said_by_more_than_the_quorum(votes, weights, percent):
    outcome = decide(count(votes, weights), percent)
    for verdict in ("valid", "invalid"):
        weight = sum(weights.get(voter, 0) for voter, said in votes.items() if said == verdict)
        assert (outcome.verdict == verdict) == (weight * 100 > percent * sum(weights.values()))


@given(votes, weights, percents, votes)
def test_a_final_outcome_stands_whatever_the_silent_say(votes, weights, percent, later):
    outcome = decide(count(votes, weights), percent)
    assume(outcome.final)
    assert decide(count({**later, **votes}, weights), percent).verdict == outcome.verdict


@given(votes, weights, percents)
def test_an_outcome_that_is_not_final_can_become_either_or_at_least_one(votes, weights, percent):
    outcome = decide(count(votes, weights), percent)
    assume(not outcome.final)
    ends = {
        decide(count({**dict.fromkeys(weights, side), **votes}, weights), percent).verdict
        for side in ("valid", "invalid")
    }
    assert ends - {""}


def test_half_is_not_more_than_half():
    assert decide(Tally(valid=1, total=2, voters=1)) == Outcome("", final=False)
    assert decide(Tally(valid=2, total=3, voters=2)) == Outcome("valid", final=True)
    assert decide(Tally(valid=1, invalid=1, total=2, voters=2)) == Outcome("", final=True)
    assert decide(Tally(invalid=2, total=3, voters=2)) == Outcome("invalid", final=True)


def test_nobody_decides_nothing():
    assert decide(Tally()) == Outcome("", final=True)


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        ([], "abstain"),
        (["valid", "abstain"], "valid"),
        (["valid", "error"], "error"),
        (["valid", "error", "invalid"], "invalid"),
        (["abstain", "abstain"], "abstain"),
    ],
)
def test_of_a_voter_s_validators_the_worst_counts(verdicts, verdict):
    assert verdict_of(verdicts) == verdict
    assert verdict_of(reversed(verdicts)) == verdict
