"""Keys, peer ids and identities: byte for byte those of libp2p and OrbitDB."""

import core_orbitdb_goldens as goldens
import libipld
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core import codec
from peersdb.core.identity import (
    MAX_IDENTITY,
    Signer,
    decode_identity,
    is_hex,
    peer_id_of,
    public_key_of,
    verify_signature,
)
from peersdb.errors import InvalidData, InvalidEntry

SIGNER = Signer.from_seed(goldens.SEED)
OTHER = Signer.from_seed(b"\x02" * 32)


def test_the_identity_is_the_one_that_orbitdb_makes():
    assert SIGNER.identity.bytes == goldens.IDENTITY
    assert SIGNER.identity.hash == goldens.IDENTITY_HASH
    assert decode_identity(goldens.IDENTITY) == SIGNER.identity
    assert SIGNER.identity is SIGNER.identity  # signed once


def test_the_peer_id_is_the_one_that_libp2p_writes():
    assert SIGNER.peer_id == "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"


def test_a_signer_is_its_seed():
    assert Signer.from_seed(SIGNER.seed).key_hex == SIGNER.key_hex == SIGNER.public_key.hex()
    assert SIGNER.seed.hex() not in repr(SIGNER)
    with pytest.raises(InvalidData, match="32 bytes, not 31"):
        Signer.from_seed(b"x" * 31)


@given(st.binary(min_size=32, max_size=32))
def test_peer_ids_lead_back_to_the_key(public_key):
    assert public_key_of(peer_id_of(public_key)) == public_key
    assert peer_id_of(public_key).startswith("12D3KooW")


@pytest.mark.parametrize(
    "peer_id",
    [
        "",
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
        "0" * 52,
        "1" * 52,
        "z" * 52,
        "12D3KooW" + "é" * 44,
    ],
)
def test_what_is_no_ed25519_peer_id_is_refused(peer_id):
    with pytest.raises(InvalidData, match="no peer id of an Ed25519 key"):
        public_key_of(peer_id)


def test_a_peer_id_of_another_kind_of_key_is_refused():
    secp256k1 = libipld.encode_multibase("z", b"\x00\x24\x08\x02\x12\x20" + SIGNER.public_key)[1:]
    assert len(secp256k1) == len(SIGNER.peer_id)
    with pytest.raises(InvalidData, match="no peer id of an Ed25519 key"):
        public_key_of(secp256k1)


def test_a_key_of_another_length_has_no_peer_id():
    with pytest.raises(InvalidData, match="32 bytes, not 33"):
        peer_id_of(b"x" * 33)


def test_only_the_key_s_own_signature_of_these_bytes_holds():
    sig = SIGNER.sign(b"data")
    assert len(sig) == 64
    assert verify_signature(SIGNER.public_key, b"data", sig)
    assert not verify_signature(SIGNER.public_key, b"date", sig)
    assert not verify_signature(OTHER.public_key, b"data", sig)
    assert not verify_signature(SIGNER.public_key, b"data", sig[:-1])
    assert not verify_signature(SIGNER.public_key[1:], b"data", sig)
    assert not verify_signature(b"\0" * 32, b"data", b"\0" * 64)


@given(st.integers(0, len(goldens.IDENTITY) - 1), st.integers(1, 255))
def test_an_identity_with_a_changed_byte_is_refused(position, change):
    data = bytearray(goldens.IDENTITY)
    data[position] ^= change
    with pytest.raises(InvalidEntry) as caught:
        decode_identity(bytes(data))
    assert caught.value.reason == "identity"


VALUE = codec.decode(goldens.IDENTITY, MAX_IDENTITY)
# The second signature is right, but over a first one that is not.
FALSE_ID = {"id": "00" * 64, "publicKey": SIGNER.sign((SIGNER.key_hex + "00" * 64).encode()).hex()}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "fields"),
        ({**VALUE, "more": 1}, "fields"),
        ({**VALUE, "type": "did"}, "type publickey"),
        ({**VALUE, "publicKey": "02" + VALUE["publicKey"]}, "Ed25519"),  # as of a secp256k1 key
        ({**VALUE, "publicKey": VALUE["publicKey"].upper()}, "Ed25519"),
        ({**VALUE, "id": OTHER.key_hex}, "id is not its public key"),
        ({**VALUE, "id": OTHER.key_hex, "publicKey": OTHER.key_hex}, "not signed by its own key"),
        ({**VALUE, "signatures": None}, "lacks its two signatures"),
        ({**VALUE, "signatures": {"id": VALUE["signatures"]["id"]}}, "lacks its two signatures"),
        ({**VALUE, "signatures": {**VALUE["signatures"], "id": "00"}}, "64 bytes"),
        ({**VALUE, "signatures": {**VALUE["signatures"], "id": "0g" * 64}}, "64 bytes"),
        (
            {**VALUE, "signatures": {**VALUE["signatures"], "publicKey": VALUE["signatures"]["id"]}},
            "not signed by its own key",
        ),
        ({**VALUE, "signatures": FALSE_ID}, "not signed by its own key"),
        ("x" * MAX_IDENTITY, "unreadable"),
    ],
)
def test_a_wrong_identity_is_refused(value, why):
    with pytest.raises(InvalidEntry, match=why) as caught:
        decode_identity(codec.encode(value))
    assert caught.value.reason == "identity"


@given(st.binary(max_size=100))
def test_any_bytes_are_an_identity_or_refused(data):
    with pytest.raises(InvalidEntry):
        decode_identity(data)


@pytest.mark.parametrize("text", ["0", "000", "0 0 ", "AB12", "gg", None, 12, b"ab"])
def test_hex_has_one_spelling(text):
    assert not is_hex(text, 2)
    assert is_hex("ab12", 2)
