"""The laws of the log."""

import random

import core_orbitdb_goldens as goldens
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core.cid import hash_of
from peersdb.core.clock import Clock
from peersdb.core.entry import MAX_NEXT, create_entry
from peersdb.core.identity import Signer
from peersdb.core.log import Log, next_clock, next_heads, plan_join

SIGNERS = [Signer.from_seed(bytes([i]) * 32) for i in range(1, 4)]
EMPTY = Log(goldens.ADDRESS)


def payload(number):
    return {"op": "ADD", "key": None, "value": {"n": number}}


@st.composite
def histories(draw):
    """Three writers, each with a log of its own, who append and join at will: the three logs."""
    logs = [EMPTY] * 3
    steps = st.tuples(st.integers(0, 2), st.integers(0, 2))
    for number, (writer, other) in enumerate(draw(st.lists(steps, max_size=14))):
        if writer == other:
            logs[writer] = logs[writer].append(SIGNERS[writer], payload(number))
        else:
            logs[writer] = logs[writer].join(logs[other])
    return logs


@given(histories())
def test_join_is_associative(logs):
    a, b, c = logs
    assert a.join(b).join(c) == a.join(b.join(c))


@given(histories())
def test_join_is_commutative(logs):
    a, b, _ = logs
    assert a.join(b) == b.join(a)


@given(histories())
def test_join_is_idempotent(logs):
    a, b, _ = logs
    assert a.join(a) == a
    assert a.join(b).join(b) == a.join(b)


@given(histories())
def test_the_empty_log_changes_nothing(logs):
    assert logs[0].join(EMPTY) == EMPTY.join(logs[0]) == logs[0]


@given(histories())
def test_heads_are_the_entries_without_a_known_child(logs):
    for log in (*logs, logs[0].join(logs[1]).join(logs[2])):
        parents = {parent for entry in log.entries.values() for parent in entry.next}
        assert log.heads == log.entries.keys() - parents


@given(histories())
def test_the_order_is_total_and_parents_come_first(logs):
    values = logs[0].join(logs[1]).join(logs[2]).values
    assert len({entry.order for entry in values}) == len(values)
    seen = set()
    for entry in values:
        assert set(entry.next) <= seen
        seen.add(entry.hash)


@given(histories(), st.randoms(use_true_random=False))
def test_the_batches_and_the_order_in_which_entries_come_do_not_matter(logs, rng: random.Random):
    whole = logs[0].join(logs[1]).join(logs[2])
    entries = list(whole.entries.values())
    rng.shuffle(entries)
    log, parked = EMPTY, []
    while entries:
        cut = rng.randint(1, len(entries))
        batch, entries = entries[:cut] + parked, entries[cut:]
        plan = plan_join(batch, log.entries.__contains__)
        parked = [entry for entry, _ in plan.parked.values()]
        log = log.join_entries(batch)
    assert log == whole
    assert parked == []


@given(histories(), st.randoms(use_true_random=False))
def test_a_plan_splits_a_batch_without_loss(logs, rng: random.Random):
    entries = logs[0].join(logs[1]).join(logs[2]).values
    known = {entry.hash for entry in entries if rng.random() < 0.3}
    batch = [entry for entry in entries if rng.random() < 0.7] * 2
    plan = plan_join(batch, known.__contains__)
    accepted = [entry.hash for entry in plan.accepted]
    assert len(accepted) + len(plan.parked) + plan.duplicates == len(batch)
    have = set(known)
    for entry in plan.accepted:
        assert entry.hash not in have
        assert set(entry.next) <= have
        have.add(entry.hash)
    for entry_hash, (entry, missing) in plan.parked.items():
        assert entry.hash == entry_hash
        assert missing == set(entry.next) - have
        assert missing


def chain(length):
    log = EMPTY
    for number in range(length):
        log = log.append(SIGNERS[0], payload(number))
    return log.values


def test_an_entry_waits_for_its_parent():
    first, second, third = chain(3)
    plan = plan_join([third, second], lambda _: False)
    assert plan.accepted == []
    assert plan.parked == {
        second.hash: (second, frozenset([first.hash])),
        third.hash: (third, frozenset([second.hash])),
    }
    assert plan_join([third, second], {first.hash}.__contains__).accepted == [second, third]


def test_what_is_known_is_a_duplicate():
    first, second = chain(2)
    plan = plan_join([first, second, second], {first.hash}.__contains__)
    assert (plan.accepted, plan.parked, plan.duplicates) == ([second], {}, 2)


def test_a_child_takes_its_parent_s_place_among_the_heads():
    first, second = chain(2)
    assert next_heads(frozenset(), [first]) == {first.hash}
    assert next_heads(frozenset([first.hash]), [second]) == {second.hash}
    assert next_heads(frozenset(), [first, second]) == {second.hash}
    other = frozenset(["other"])
    assert next_heads(other, [first, second]) == other | {second.hash}


def test_the_clock_ticks_past_the_latest_head():
    assert next_clock("k", []) == Clock("k", 1)
    assert next_clock("k", [Clock("a", 3), Clock("b", 7)]) == Clock("k", 8)


def test_more_heads_than_an_entry_may_have_parents_are_merged_in_turns():
    clock = Clock(SIGNERS[0].key_hex, 1)
    roots = [create_entry(SIGNERS[0], goldens.ADDRESS, payload(i), clock, ()) for i in range(MAX_NEXT + 8)]
    log = EMPTY.join_entries(roots)
    log = log.append(SIGNERS[0], payload("a"))
    assert len(log.heads) == 9
    assert len(log.append(SIGNERS[0], payload("b")).heads) == 1


def test_a_long_chain_joins_without_recursion_in_a_batch_of_any_order():
    entries, parents = [], ()
    for number in range(1500):
        clock = Clock(SIGNERS[0].key_hex, number + 1)
        entries.append(create_entry(SIGNERS[0], goldens.ADDRESS, payload(number), clock, parents))
        parents = (entries[-1].hash,)
    assert plan_join(reversed(entries), lambda _: False).accepted == entries


def test_a_log_does_not_change():
    with pytest.raises(TypeError):
        EMPTY.entries[hash_of(b"")] = None
