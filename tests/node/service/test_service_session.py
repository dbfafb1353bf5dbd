"""What is queued for one peer is bounded, and catching up keeps step with its acknowledgements."""

import trio
from hypothesis import given
from hypothesis import strategies as st
from service_helpers import Chain
from trio.testing import wait_all_tasks_blocked

from peersdb.service.session import BATCH_BYTES, BATCH_ENTRIES, MAX_IDENTITIES, MAX_LIVE, Session

CHAIN = Chain(90, "/orbitdb/x")
ENTRIES = [CHAIN.entry() for _ in range(600)]


def take_all(session):
    batches = []
    while batch := session.take()[0]:
        batches.append(batch)
    return batches


@given(st.lists(st.integers(0, 200), max_size=8))
def test_pushes_come_out_in_order_in_batches_that_are_bounded(sizes):
    session, pushed = Session("peer"), []
    for size in sizes:
        session.push(ENTRIES[:size])
        pushed += ENTRIES[:size]
    batches = take_all(session)
    assert [entry for batch in batches for entry in batch] == pushed
    assert all(len(batch) <= BATCH_ENTRIES for batch in batches)
    assert all(sum(len(entry.data) for entry in batch) <= BATCH_BYTES for batch in batches)


def test_too_many_pushes_are_dropped_all_and_it_is_told_once():
    session = Session("peer")
    for _ in range(MAX_LIVE // len(ENTRIES) + 1):
        session.push(ENTRIES)
    assert session.take() == ([], True)
    assert session.take() == ([], False)
    session.push(ENTRIES[:1])
    assert session.take() == (ENTRIES[:1], False)


def test_an_identity_is_sent_once():
    session = Session("peer")
    assert session.new_identities(ENTRIES[:2]) == [CHAIN.signer.identity.hash]
    assert session.new_identities(ENTRIES[2:4]) == []


def test_identities_remembered_are_bounded():
    session = Session("peer")
    session._identities = {str(number) for number in range(MAX_IDENTITIES)}
    assert session.new_identities(ENTRIES[:1]) == [CHAIN.signer.identity.hash]
    assert len(session._identities) == 1


async def test_the_window_opens_with_each_acknowledgement_and_for_no_other_number():
    session, sent = Session("peer"), []

    async def send():
        for _ in range(6):
            await session.window(4)
            sent.append(session.next_batch())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert sent == [1, 2, 3, 4]
        for wrong in (0, -1, 99):
            session.acknowledged(wrong)
            await wait_all_tasks_blocked()
            assert sent == [1, 2, 3, 4]
        session.acknowledged(1)
        await wait_all_tasks_blocked()
        assert sent == [1, 2, 3, 4, 5]
        session.acknowledged(5)
    assert sent == [1, 2, 3, 4, 5, 6]


async def test_what_runs_for_a_session_ends_with_it():
    session = Session("peer")
    async with trio.open_nursery() as nursery:

        async def work():
            with session.scope_for(trio.CancelScope()):
                await trio.sleep_forever()

        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        session.scope.cancel()
        nursery.start_soon(work)  # and what comes after it does not begin
