"""Two sets become one by comparing ranges, whatever they hold."""

import bisect
import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from peersdb.core import ranges
from peersdb.core.cid import CID
from peersdb.core.ranges import Items, compare, settle, whole
from peersdb.core.reconcile import EMPTY


class SetStore:
    """A set of (time, digest), in memory."""

    def __init__(self, items):
        self.items = sorted(items)

    def _slice(self, low, high):
        return self.items[bisect.bisect_left(self.items, low) : bisect.bisect_left(self.items, high)]

    def fingerprint(self, low, high):
        found = EMPTY
        for _, digest in self._slice(low, high):
            found = found.add(str(CID.from_bytes(b"\x01\x71\x12\x20" + digest)))
        return found

    def digests(self, low, high):
        return tuple(digest for _, digest in self._slice(low, high))

    def cuts(self, low, high, count, parts):
        found = self._slice(low, high)
        return [found[count * i // parts] for i in range(1, parts)]


def item(number):
    return (1 + number // 3, hashlib.sha256(str(number).encode()).digest())


def reconcile(a, b):
    """Runs the exchange; gives the messages, and what each asks of the other or sends it unasked."""
    stores, messages = (a, b), 0
    wants, sends = [set(), set()], [set(), set()]
    inbox = [(1, [whole(a)])]  # b gets a's whole range
    while inbox:
        at, message = inbox.pop()
        messages += 1
        store, other = stores[at], 1 - at
        if isinstance(message, Items):
            lacking, surplus = settle(store, message)
            wants[at].update(lacking)
            if surplus is None:
                low, high = message.range.low, message.range.high
                surplus = [d for d in store.digests(low, high) if d not in set(message.digests)]
            sends[at].update(surplus)
            continue
        parts, items = compare(store, message)
        if parts:
            inbox.append((other, parts))
        inbox.extend((other, one) for one in items)
    return messages, wants, sends


sets = st.sets(st.integers(0, 3000), max_size=400)


@settings(max_examples=60, deadline=None)
@given(sets, sets, sets)
def test_each_side_learns_exactly_what_it_lacks(common, only_a, only_b):
    only_a, only_b = only_a - common, only_b - common - only_a
    a = SetStore(map(item, common | only_a))
    b = SetStore(map(item, common | only_b))
    _, wants, sends = reconcile(a, b)
    assert wants[0] | sends[1] == {item(n)[1] for n in only_b}
    assert wants[1] | sends[0] == {item(n)[1] for n in only_a}


def test_equal_sets_end_with_one_message():
    store = SetStore(map(item, range(2000)))
    messages, wants, sends = reconcile(store, SetStore(store.items))
    assert messages == 1
    assert wants == sends == [set(), set()]


def test_one_difference_in_many_takes_few_messages():
    a, b = range(20_000), set(range(20_000)) - {12_345}
    messages, wants, sends = reconcile(SetStore(map(item, a)), SetStore(map(item, b)))
    assert messages <= 6
    assert wants[1] | sends[0] == {item(12_345)[1]}


def test_an_empty_side_names_nothing_and_gets_all():
    a = SetStore(map(item, range(1000)))
    messages, wants, sends = reconcile(SetStore([]), a)
    assert sends[1] | wants[0] == {digest for _, digest in a.items}
    assert messages <= ranges.PARTS + 4
