"""Who is asked for a vote: no more than may be needed, whatever they answer."""

from hypothesis import given
from hypothesis import strategies as st

from peersdb.core.quorum import count, decide
from peersdb.service.livevotes import SPARE, _Round

VERDICTS = st.sampled_from(("valid", "invalid", "error", ""))


def asked_round(answers, here, percent=50):
    """Asks one after the other; how many were asked, and the round."""
    weights = dict.fromkeys([*answers, *here], 1)
    made = _Round(dict(here), list(answers), weights, percent)
    waiting, asked = made.next(), 0
    while waiting and not made.final():
        asked += 1
        peer = waiting.pop(0)
        made.answered(peer, answers[peer])
        waiting += made.next()
    return asked, made


@given(st.lists(VERDICTS, max_size=24), st.lists(VERDICTS.filter(bool), max_size=8))
def test_asking_no_more_than_needed_comes_to_the_outcome_of_asking_all(answers, here):
    answers = {f"peer {number}": verdict for number, verdict in enumerate(answers)}
    here = {f"here {number}": verdict for number, verdict in enumerate(here)}
    _, made = asked_round(answers, here)
    every = {**{peer: verdict for peer, verdict in answers.items() if verdict}, **here}
    outcome = decide(count(every, made.weights), 50)
    assert decide(count(made.found, made.weights), 50).verdict == outcome.verdict


@given(st.integers(1, 24))
def test_where_all_agree_a_quorum_of_them_is_asked_and_the_spare(number):
    answers = dict.fromkeys(map(str, range(number)), "valid")
    made = _Round({}, list(answers), dict.fromkeys(answers, 1), 50)
    first = made.next()
    assert first == list(answers)[: number // 2 + 1 + SPARE]  # the nearest, in their order
    asked, made = asked_round(answers, {})
    assert asked == number // 2 + 1


def test_one_who_has_nothing_to_say_is_replaced_and_whose_vote_came_meanwhile_is_not_asked():
    answers = [str(number) for number in range(20)]
    made = _Round({}, answers.copy(), dict.fromkeys(answers, 1), 50)
    assert made.next() == answers[:13]
    made.answered("0", "")
    assert made.next() == ["13"]
    made.found["14"] = "valid"
    made.answered("1", "")
    assert made.next() == []
    made.answered("2", "")
    assert made.next() == ["15"]
    made.found["16"] = "valid"
    assert made.rest() == ["17", "18", "19"]
    assert made.next() == made.rest() == []
