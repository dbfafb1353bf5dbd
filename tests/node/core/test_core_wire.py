"""Wire messages: golden bytes, limits, and nothing else ever raised."""

import core_orbitdb_goldens as goldens
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core import codec, wire
from peersdb.core.cid import CID, hash_of
from peersdb.core.identity import Signer
from peersdb.core.reconcile import EMPTY
from peersdb.core.wire import framing
from peersdb.errors import InvalidMessage

KEY = Signer.from_seed(goldens.SEED).key_hex
PRINT = EMPTY.add(hash_of(b"")).to_bytes()
RAW_CID, CBOR_CID = bytes(CID.of(b"x")), bytes(CID.parse(goldens.ENTRY_HASHES[0]))

# One message of each type, and the bytes it has had since protocol version 1.
GOLDEN = {
    wire.Hello(1, goldens.ADDRESS, goldens.MANIFEST, goldens.ACCESS, 7, PRINT, b"record"): (
        "a861746568656c6c6f65636f756e74076661636365737354a26474797065646970667365777269746581612a66"
        "7265636f7264467265636f72646761646472657373783a2f6f7262697464622f7a647075417444776962476464"
        "64714a44657461754e594e3577794d686636754e327a706a3734656b4a7a4d72764b6b4e6776657273696f6e01"
        "686d616e6966657374586fa3646e616d6572636f6e747269627574696f6e732d64656d6f647479706566657665"
        "6e747370616363657373436f6e74726f6c6c657278372f697066732f7a64707541774b4a444b7031433255466b"
        "5a313847454c614b7a79437861483441386a5153704c69524b45636e424478716b66696e6765727072696e7458"
        "20b803cb86c04c6e16a92b0bc6a7ad8a1b1a4e0dbac6ba0ff5e07987af79d13fa3"
    ),
    wire.Hello(1, None, b"", b"", 0, EMPTY.to_bytes(), b""): (
        "a861746568656c6c6f65636f756e74006661636365737340667265636f7264406761646472657373f667766572"
        "73696f6e01686d616e6966657374406b66696e6765727072696e74582000000000000000000000000000000000"
        "00000000000000000000000000000000"
    ),
    wire.Vector(((KEY, 0, 7), (KEY, 1, 300))): (
        "a2617466766563746f726777726974657273828378403861383865336464373430396631393566643532646232"
        "643363626135643732636136373039626631643934313231626633373438383031623430663666356300078378"
        "403861383865336464373430396631393566643532646232643363626135643732636136373039626631643934"
        "31323162663337343838303162343066366635630119012c"
    ),
    wire.Entries((b"first", b"second"), (b"identity",), True, 3): (
        "a5617467656e74726965736373657103646c697665f567656e747269657382456669727374467365636f6e646a"
        "6964656e74697469657381486964656e74697479"
    ),
    wire.Ack(3, 9, PRINT): (
        "a461746361636b637365710365636f756e74096b66696e6765727072696e745820b803cb86c04c6e16a92b0bc6"
        "a7ad8a1b1a4e0dbac6ba0ff5e07987af79d13fa3"
    ),
    wire.Heads(9, PRINT): (
        "a3617465686561647365636f756e74096b66696e6765727072696e745820b803cb86c04c6e16a92b0bc6a7ad8a"
        "1b1a4e0dbac6ba0ff5e07987af79d13fa3"
    ),
    wire.Members((b"record",)): ("a26174676d656d62657273677265636f72647381467265636f7264"),
    wire.Ranges(((1, b"", 9, PRINT, 7, PRINT),)): (
        "a261746672616e6765736672616e67657381860140095820b803cb86c04c6e16a92b0bc6a7ad8a1b1a4e0dbac6ba"
        "0ff5e07987af79d13fa3075820b803cb86c04c6e16a92b0bc6a7ad8a1b1a4e0dbac6ba0ff5e07987af79d13fa3"
    ),
    wire.RangeItems((1, b"", 9, PRINT, 7, PRINT), (PRINT,)): (
        "a36174656974656d736572616e6765860140095820b803cb86c04c6e16a92b0bc6a7ad8a1b1a4e0dbac6ba0ff5e0"
        "7987af79d13fa3075820b803cb86c04c6e16a92b0bc6a7ad8a1b1a4e0dbac6ba0ff5e07987af79d13fa367646967"
        "65737473815820b803cb86c04c6e16a92b0bc6a7ad8a1b1a4e0dbac6ba0ff5e07987af79d13fa3"
    ),
    wire.WantEntries((PRINT,)): (
        "a2617468656e74726965733f6764696765737473815820b803cb86c04c6e16a92b0bc6a7ad8a1b1a4e0dbac6ba0f"
        "f5e07987af79d13fa3"
    ),
    wire.Have((PRINT,)): (
        "a2617464686176656764696765737473815820b803cb86c04c6e16a92b0bc6a7ad8a1b1a4e0dbac6ba0ff5e079"
        "87af79d13fa3"
    ),
    wire.Prune((KEY,)): (
        "a26174657072756e65677772697465727381784038613838653364643734303966313935666435326462326433"
        "636261356437326361363730396266316439343132316266333734383830316234306636663563"
    ),
    wire.Graft(): ("a16174656772616674"),
    wire.WriterQuery(KEY): (
        "a26174677772697465723f636b6579784038613838653364643734303966313935666435326462326433636261"
        "356437326361363730396266316439343132316266333734383830316234306636663563"
    ),
    wire.WriterAnswer(KEY, 1, 300): (
        "a4617466777269746572636b657978403861383865336464373430396631393566643532646232643363626135"
        "64373263613637303962663164393431323162663337343838303162343066366635636373657119012c656570"
        "6f636801"
    ),
    wire.Want(5, (RAW_CID, CBOR_CID)): (
        "a361746477616e7462696405646369647382d82a582500015512202d711642b726b04401627ca9fbac32f5c853"
        "0fb1903cc4db02258717921a4881d82a58250001711220d1fd15a35c467d150e97ace9eaa31fb77bdcc23a3806"
        "3e262e3331a780b16571"
    ),
    wire.BlockHeader(5, RAW_CID, 1): (
        "a4617465626c6f636b6269640563636964d82a582500015512202d711642b726b04401627ca9fbac32f5c8530f"
        "b1903cc4db02258717921a48816473697a6501"
    ),
    wire.BlockHeader(5, RAW_CID, -1): (
        "a4617465626c6f636b6269640563636964d82a582500015512202d711642b726b04401627ca9fbac32f5c8530f"
        "b1903cc4db02258717921a48816473697a6520"
    ),
    wire.VoteRequest(RAW_CID): (
        "a2617465766f74653f63636964d82a582500015512202d711642b726b04401627ca9fbac32f5c8530fb1903cc4db"
        "02258717921a4881"
    ),
    wire.VoteAnswer(b"ballot"): ("a2617464766f74656662616c6c6f744662616c6c6f74"),
    wire.VoteHeads(PRINT): (
        "a26174667668656164736b66696e6765727072696e745820b803cb86c04c6e16a92b0bc6a7ad8a1b1a4e0dbac6ba0ff5"
        "e07987af79d13fa3"
    ),
    wire.VoteVector(((b"\x02" * 32, 5, 2, b"\x03" * 8),)): (
        "a261746776766563746f7266636861696e738184582002020202020202020202020202020202020202020202020202020202"
        "020202020502480303030303030303"
    ),
    wire.Ballots((b"one", b"two"), True, False): (
        "a461746762616c6c6f7473646c697665f5646d6f7265f46762616c6c6f747382436f6e654374776f"
    ),
    wire.Equivocation(b"one", b"two"): ("a361746774776f666f6c64636f6e65436f6e65656f746865724374776f"),
    wire.BenchmarkRequest(): ("a161746a62656e63686d61726b3f"),
    wire.BenchmarkAnswer(b"{}"): ("a261746962656e63686d61726b646a736f6e427b7d"),
}

ints = st.integers(0, 2**63 - 1)
prints = st.binary(min_size=32, max_size=32) | st.binary(min_size=28, max_size=28).map(
    lambda rest: b"\x01\x55\x12\x1c" + rest  # what looks like a CID, too
)
tips = st.binary(min_size=8, max_size=8)
keys = st.binary(min_size=32, max_size=32).map(bytes.hex)
cids = st.binary(max_size=4).map(lambda data: bytes(CID.of(data)))
small = st.binary(min_size=1, max_size=20)
tuples = st.lists(small, max_size=4).map(tuple)
ranges = st.tuples(ints, st.binary(max_size=32), ints, st.binary(max_size=32), ints, prints)
messages = st.one_of(
    st.builds(
        wire.Hello,
        st.integers(1, 9),
        st.none() | st.text(min_size=1, max_size=60),
        st.binary(max_size=9),
        st.binary(max_size=9),
        ints,
        prints,
        st.binary(max_size=9),
    ),
    st.builds(wire.Vector, st.lists(st.tuples(keys, ints, ints), max_size=4).map(tuple)),
    st.builds(wire.Entries, tuples, tuples, st.booleans(), ints),
    st.builds(wire.Ack, ints, ints, prints),
    st.builds(wire.Heads, ints, prints),
    st.builds(wire.Members, tuples),
    st.builds(wire.Ranges, st.lists(ranges, max_size=4).map(tuple)),
    st.builds(wire.RangeItems, ranges, st.lists(prints, max_size=4).map(tuple)),
    st.builds(wire.WantEntries, st.lists(prints, max_size=4).map(tuple)),
    st.builds(wire.Have, st.lists(prints, max_size=4).map(tuple)),
    st.builds(wire.Prune, st.lists(keys, max_size=4).map(tuple)),
    st.builds(wire.Graft),
    st.builds(wire.WriterQuery, keys),
    st.builds(wire.WriterAnswer, keys, ints, ints),
    st.builds(wire.Want, ints, st.lists(cids, max_size=4).map(tuple)),
    st.builds(wire.BlockHeader, ints, cids, st.integers(-1, wire.MAX_BLOCK)),
    st.builds(wire.VoteRequest, cids),
    st.builds(wire.VoteAnswer, st.binary(max_size=50)),
    st.builds(wire.VoteHeads, prints),
    st.builds(
        wire.VoteVector, st.lists(st.tuples(prints, ints, st.integers(1, 9), tips), max_size=4).map(tuple)
    ),
    st.builds(wire.Ballots, tuples, st.booleans(), st.booleans()),
    st.builds(wire.Equivocation, small, small),
    st.builds(wire.BenchmarkRequest),
    st.builds(wire.BenchmarkAnswer, st.binary(max_size=50)),
)


@given(messages)
def test_messages_lead_back(message):
    assert wire.decode(wire.encode(message)) == message


@pytest.mark.parametrize("message", GOLDEN)
def test_the_bytes_of_a_message_do_not_change(message):
    assert wire.encode(message).hex() == GOLDEN[message]
    assert wire.decode(bytes.fromhex(GOLDEN[message])) == message


def test_every_type_has_golden_bytes():
    assert {type(message) for message in GOLDEN} == set(framing._TYPES.values())
    assert len(framing._TYPES) == 24


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"\xa2\x61t\x64want" + rest))
def test_any_bytes_are_refused(data):
    with pytest.raises(InvalidMessage):
        wire.decode(data)


@given(st.sampled_from([bytes.fromhex(golden) for golden in GOLDEN.values()]), st.data())
def test_a_changed_or_cut_message_raises_nothing_else(golden, data):
    changed = bytearray(golden)
    changed[data.draw(st.integers(0, len(golden) - 1))] ^= data.draw(st.integers(1, 255))
    cut = golden[: data.draw(st.integers(0, len(golden) - 1))]
    with pytest.raises(InvalidMessage):
        wire.decode(cut)
    try:
        message = wire.decode(bytes(changed))
    except InvalidMessage:
        return
    assert wire.encode(message) == changed


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (wire.Hello(0, None, b"", b"", 0, PRINT, b""), "hello.version"),
        (wire.Hello(1, "", b"", b"", 0, PRINT, b""), "hello.address"),
        (wire.Hello(1, "x" * 129, b"", b"", 0, PRINT, b""), "hello.address"),
        (wire.Hello(1, None, b"x" * 1025, b"", 0, PRINT, b""), "hello.manifest"),
        (wire.Hello(1, None, b"", b"x" * 1025, 0, PRINT, b""), "hello.access"),
        (wire.Hello(1, None, b"", b"", -1, PRINT, b""), "hello.count"),
        (wire.Hello(1, None, b"", b"", 0, PRINT[1:], b""), "hello.fingerprint"),
        (wire.Hello(1, None, b"", b"", 0, PRINT, b"x" * 4097), "hello.record"),
        (wire.Vector(((KEY, 0, 1),) * 8193), "vector.writers is not a list of at most 8192"),
        (wire.Vector((("key", 0, 1),)), "vector.writers"),
        (wire.Vector(((KEY, -1, 1),)), "vector.writers"),
        (wire.Vector(((KEY, 0),)), "vector.writers"),
        (wire.Entries((b"x",) * 1025, (), False, 0), "entries.entries is not a list of at most 1024"),
        (wire.Entries((b"x" * 16385,), (), False, 0), "entries.entries"),
        (wire.Entries((b"",), (), False, 0), "entries.entries"),
        (wire.Entries((), (b"x" * 1025,), False, 0), "entries.identities"),
        (wire.Entries((), (b"x",) * 1025, False, 0), "entries.identities"),
        (wire.Entries((), (), 1, 0), "entries.live"),
        (wire.Entries((), (), True, 2**63), "entries.seq"),
        (wire.Entries((b"x" * 16384,) * 64, (), True, 0), "too large, at most 1048576"),
        (wire.Ack(True, 0, PRINT), "ack.seq"),
        (wire.Heads(0, PRINT.hex()), "heads.fingerprint"),
        (wire.Members((b"x",) * 65), "members.records"),
        (wire.Members((b"x" * 4097,)), "members.records"),
        (wire.WriterQuery(KEY.upper()), r"writer\?.key"),
        (wire.WriterAnswer(KEY, 0, -1), "writer.seq"),
        (wire.Want(0, (RAW_CID,) * 257), "want.cids"),
        (wire.Want(0, (b"no",)), "want.cids"),
        (wire.Want(0, (b"x" * 46,)), "want.cids"),
        (wire.BlockHeader(0, RAW_CID, -2), "block.size"),
        (wire.BlockHeader(0, RAW_CID, 2 * 1024 * 1024 + 1), "block.size"),
        (wire.BenchmarkAnswer(b"x" * (256 * 1024 + 1)), "benchmark.json"),
    ],
)
def test_a_limit_holds_when_sending_and_when_reading(message, why):
    with pytest.raises(InvalidMessage, match=why):
        wire.encode(message)
    fields = {name: framing._listed(getattr(message, name)) for name in message.CHECKS}
    # Longer than its type may be: refused by length, before it is decoded.
    with pytest.raises(InvalidMessage, match=f"{why}|are too many, at most"):
        wire.decode(codec.encode({"t": message.TYPE, **fields}))


@pytest.mark.parametrize(
    "largest",
    [
        wire.Hello(1, "x" * 128, b"x" * 1024, b"x" * 1024, 2**63 - 1, PRINT, b"x" * 4096),
        wire.Vector(((KEY, 2**63 - 1, 2**63 - 1),) * 8192),
        wire.Entries((b"x" * 512,) * 1024, (b"x" * 453,) * 1024, True, 2**63 - 1),
        wire.Ack(2**63 - 1, 2**63 - 1, PRINT),
        wire.Members((b"x" * 4096,) * 64),
        wire.WriterAnswer(KEY, 2**63 - 1, 2**63 - 1),
        wire.Want(2**63 - 1, (bytes(CID(1, 2**62, CID.of(b"").multihash)),) * 256),
        wire.BlockHeader(2**63 - 1, RAW_CID, 2 * 1024 * 1024),
        wire.BenchmarkAnswer(b"x" * 256 * 1024),
    ],
)
def test_the_largest_message_of_each_type_fits_its_frame(largest):
    body = wire.encode(largest)
    assert wire.decode(body) == largest
    assert wire.frame_length(wire.frame(body)[:4]) == len(body)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"t": "hullo"}, "unknown to this version"),
        ({"t": 5}, "not a message"),
        ({}, "not a message"),
        ([], "not a message"),
        ({"t": "ack", "seq": 1, "count": 1}, "fields seq, count, fingerprint"),
        ({"t": "benchmark?", "more": 1}, "none"),
        ({"t": "x" * 30}, "not a message"),
        ({"a": 1, "t": "ack"}, "not a message"),
    ],
)
def test_another_map_is_no_message(value, why):
    with pytest.raises(InvalidMessage, match=why):
        wire.decode(codec.encode(value))


def test_a_frame_is_its_length_and_its_body():
    assert wire.frame(b"abc") == b"\0\0\0\3abc"
    assert wire.frame_length(b"\0\0\0\3") == 3
    assert wire.frame_length(b"\0\x10\0\0") == wire.MAX_FRAME


@pytest.mark.parametrize(
    "header", [b"", b"\0\0\0", b"\0\0\0\0", b"\0\x10\0\1", b"\xff\xff\xff\xff", b"\0\0\0\1\1"]
)
def test_a_wrong_length_is_refused(header):
    with pytest.raises(InvalidMessage):
        wire.frame_length(header)


def test_a_stream_may_set_a_lower_limit():
    with pytest.raises(InvalidMessage, match="1 to 10"):
        wire.frame_length(b"\0\0\0\x0b", 10)


def test_a_body_larger_than_a_frame_is_not_framed():
    with pytest.raises(InvalidMessage, match="too large"):
        wire.frame(b"x" * (wire.MAX_FRAME + 1))
