"""What a hostile peer sends: dropped, counted, and in the end cut off; honest peers go on."""

import pytest
import trio
from service_helpers import (
    Chain,
    address,
    batch,
    eventually,
    number_of_entries,
    paths,
    post,
    same,
    stranger,
    world,
)
from structlog.testing import capture_logs

from peersdb.core.manifest import contributions_manifest
from peersdb.core.wire import Ack, Entries, Heads, Hello, Members, Vector, Want
from peersdb.core.wire import frame as framed
from peersdb.service.replication import MAX_FAULTS


def badly_signed(chain):
    data = bytearray(chain.entry().data)
    at = data.find(b"csig") + 6  # past the text's own head: the first hex digits
    data[at : at + 2] = b"00" if data[at : at + 2] != b"00" else b"11"
    return bytes(data)


OTHER = Chain(91, "")
FORGED = {
    "signature": badly_signed,
    "contributor": lambda chain: chain.entry(contributor=OTHER.signer.peer_id),
    "log_id": lambda chain: chain.entry(log_id=contributions_manifest("other").address),
    "clock": lambda chain: chain.entry(clock_id=OTHER.signer.key_hex),
    "timestamp": lambda chain: chain.entry(creation_ts="2200-01-01T00:00:00Z"),
    "identity": lambda chain: chain.entry(),
    "canonical": lambda chain: b"\xa1" + chain.entry().data,
}


#: What the log says of each.
WORDS = {
    "signature": "not signed by its key",
    "contributor": "who did not sign it",
    "log_id": "belongs to",
    "clock": "not its signer's",
    "timestamp": "ahead",
    "identity": "was not sent",
    "canonical": "unreadable",
}


def forged(kind, log_id):
    """A message with one entry that may not join, by the check that it fails."""
    chain = Chain(90, log_id)
    made = batch(chain, [FORGED[kind](chain)])
    return Entries(made.entries, (OTHER.identity,), live=False, seq=1) if kind == "identity" else made


@pytest.mark.parametrize("kind", FORGED)
async def test_a_forged_entry_is_dropped_and_counted_and_the_good_one_beside_it_joins(tmp_path, kind):
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        log_id = root.replication.state.address
        await hostile.meet(root)
        good, bad = Chain(80, log_id), forged(kind, log_id)
        mixed = Entries(
            (*bad.entries, good.entry().data), (*bad.identities, good.identity), live=False, seq=1
        )
        with capture_logs() as logs:
            await hostile.say(mixed)
            await eventually(lambda: hostile.heard_of(Ack))
            await eventually(lambda: any(entry["event"] == "a peer sent something wrong" for entry in logs))
        (said,) = [entry for entry in logs if entry["event"] == "a peer sent something wrong"]
        assert WORDS[kind] in said["error"]
        assert await paths(root) == [good.entries[0].contribution.path]
        session = root.replication._sessions[hostile.host.peer_id]
        assert session.faults == 1
        assert hostile.host.peer_id in root.host.connected


async def test_a_peer_that_sends_too_much_that_is_wrong_is_cut_off(tmp_path):
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        honest = await nodes.start("honest", bootstrap=(address(root),))
        await eventually(lambda: same(root, honest))
        await hostile.meet(root)
        bad = forged("contributor", root.replication.state.address)
        for _ in range(MAX_FAULTS - 1):
            await hostile.say(bad)
        await eventually(lambda: len(hostile.heard_of(Ack)) == MAX_FAULTS - 1)
        assert hostile.host.peer_id in root.host.connected
        with capture_logs() as logs:
            await hostile.say(bad)
            await eventually(lambda: hostile.host.peer_id not in root.host.connected)
        assert any(entry["event"] == "too much was wrong, disconnected" for entry in logs)
        assert number_of_entries(root) == 0
        await post(honest, [1])
        await eventually(lambda: same(root, honest) and number_of_entries(root) == 1)


async def test_what_one_node_refuses_is_not_passed_on(tmp_path):
    async with world(tmp_path) as nodes, stranger() as hostile, stranger(67) as listener:
        root = await nodes.start("root", root=True)
        await hostile.meet(root)
        await listener.meet(root)
        good = Chain(80, root.replication.state.address)
        for kind in ("signature", "contributor", "log_id"):
            await hostile.say(forged(kind, root.replication.state.address))
        await hostile.say(batch(good, [good.entry()], live=True))
        await eventually(lambda: listener.heard_of(Entries))
        heard = [data for message in listener.heard_of(Entries) for data in message.entries]
        assert heard == [good.entries[0].data]
        assert not hostile.heard_of(Entries)  # nor back to where it came from


BAD_MESSAGES = {
    "an entry over 16 KiB": lambda: framed(b"\xa5atgentriesclivef" + bytes(20_000)),
    "a list of too many": lambda: framed(b"\xa2atfvectorgwriters\x9a\x00\x01\x00\x00" + bytes(65536)),
    "a frame too long": lambda: b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("what", BAD_MESSAGES)
async def test_what_is_no_message_ends_the_connection_at_once(tmp_path, what):
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        await hostile.meet(root)
        await eventually(lambda: hostile.heard_of(Hello))
        with capture_logs() as logs:
            await hostile._stream.write(BAD_MESSAGES[what]())
            await eventually(lambda: hostile.host.peer_id not in root.host.connected)
        assert any("no message" in entry["event"] for entry in logs)
        assert await post(root, [1])


@pytest.mark.parametrize(
    "message",
    [
        lambda node: batch(Chain(80, node.replication.state.address), []),
        lambda _: Want(1, ()),
    ],
)
async def test_what_is_out_of_place_ends_the_connection(tmp_path, message):
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        await hostile.meet(root, Hello(1, None, b"", b"", 0, bytes(32), b""))  # says of no log that it has it
        await hostile.say(message(root))
        await eventually(lambda: hostile.host.peer_id not in root.host.connected)


async def test_a_manifest_that_is_not_the_address_s_is_not_adopted(tmp_path):
    async with world(tmp_path) as nodes, stranger() as hostile:
        a = await nodes.start("a")
        one, two = contributions_manifest("one"), contributions_manifest("two")
        for manifest in (two.blocks[0].data, b"", b"\xa0"):
            hello = Hello(1, one.address, manifest, one.blocks[1].data, 1, bytes(32), b"")
            with capture_logs() as logs:
                await hostile.meet(a, hello)
                await eventually(lambda logs=logs: any("something wrong" in entry["event"] for entry in logs))
            assert a.replication.state is None


async def test_member_records_that_are_forged_or_from_the_future_are_refused(tmp_path):
    from peersdb.core.records import create_record

    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        await hostile.meet(root)
        member = Chain(50, "").signer
        forged_record = bytearray(create_record(member, (), 5, True, "eu").data)
        forged_record[forged_record.find(b"\x05")] ^= 2
        for data in (bytes(forged_record), create_record(member, (), 2**63 - 1, True, "").data, b"\xa0"):
            await hostile.say(Members((data,)))
        session = root.replication._sessions[hostile.host.peer_id]
        await eventually(lambda: session.faults == 3)
        assert root.membership.record(member.peer_id) is None


async def test_a_peer_that_claims_what_it_never_sends_costs_no_loop(tmp_path):
    """It always says that it has more, ends each round at once, and never sends an entry."""
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        await hostile.meet(root)
        await hostile.say(Heads(10**6, b"\x01" * 32))
        await eventually(lambda: hostile.heard_of(Vector))
        answered = 0
        with trio.move_on_after(1.5):
            while True:
                asked = len(hostile.heard_of(Vector))
                if asked > answered:
                    answered = asked
                    await hostile.say(Heads(10**6, b"\x01" * 32))
                await trio.sleep(0.001)
        assert answered <= 10, answered
