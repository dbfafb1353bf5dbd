"""Who writes: Ed25519 keys, libp2p peer ids and OrbitDB identities.

One key pair is a node's libp2p peer, its OrbitDB identity and the signer of its entries. An identity block
is dag-cbor ``{id, publicKey, signatures: {id, publicKey}, type: "publickey"}``, as made by
``@orbitdb/core``: ``id`` and ``publicKey`` are the key in hex, ``signatures.id`` signs the text ``id``,
``signatures.publicKey`` the text ``publicKey + signatures.id``; signatures are hex.
"""

import builtins
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Self

import libipld
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from peersdb.core import codec
from peersdb.core.cid import hash_of
from peersdb.errors import InvalidBlock, InvalidData, InvalidEntry

KEY_SIZE = 32
SIGNATURE_SIZE = 64
# An identity of an Ed25519 key has 453 bytes, one of a secp256k1 key about 480.
MAX_IDENTITY = 1024

# A peer id is the identity multihash (code 0, length 36) of the key as a protobuf message:
# field 1 = 1 (Ed25519), field 2 = the 32 bytes.
_PEER_ID_PREFIX = b"\x00\x24\x08\x01\x12\x20"
_PEER_ID_LENGTH = 52


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified OrbitDB identity.

    Attributes:
        hash: CID of its block, ``zdpu…``, as entries refer to it.
        bytes: its block.
        id: the public key in hex.
        public_key: the public key in hex.
    """

    hash: str
    bytes: builtins.bytes
    id: str
    public_key: str


class Signer:
    """A key pair that signs as one writer."""

    def __init__(self, key: SigningKey) -> None:
        """Wrap a key; ``from_seed`` makes one."""
        self._key = key
        self.public_key = bytes(key.verify_key)
        self.key_hex = self.public_key.hex()
        self.peer_id = peer_id_of(self.public_key)

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Derive the key pair of a 32-byte seed.

        Raises:
            InvalidData: the seed has another length.
        """
        if len(seed) != KEY_SIZE:
            raise InvalidData(f"a key's seed has {KEY_SIZE} bytes, not {len(seed)}")
        return cls(SigningKey(seed))

    @property
    def seed(self) -> bytes:
        """The secret seed, 32 bytes."""
        return bytes(self._key)

    def sign(self, data: bytes) -> bytes:
        """Sign; the signature has 64 bytes and is the same each time."""
        return self._key.sign(data).signature

    @cached_property
    def identity(self) -> Identity:
        """The identity block of this writer."""
        id_signature = self.sign(self.key_hex.encode()).hex()
        key_signature = self.sign((self.key_hex + id_signature).encode()).hex()
        data = codec.encode(
            {
                "id": self.key_hex,
                "publicKey": self.key_hex,
                "signatures": {"id": id_signature, "publicKey": key_signature},
                "type": "publickey",
            }
        )
        return Identity(hash_of(data), data, self.key_hex, self.key_hex)

    def __repr__(self) -> str:
        return f"Signer({self.peer_id})"


def verify_signature(public_key: bytes, data: bytes, sig: bytes) -> bool:
    """Say whether a signature is this key's over this data; malformed keys and signatures are not."""
    try:
        VerifyKey(public_key).verify(data, sig)
    except (BadSignatureError, ValueError):
        return False
    return True


@lru_cache(maxsize=4096)  # writers met at once; half of the cheap checks' time otherwise
def peer_id_of(public_key: bytes) -> str:
    """Write an Ed25519 public key as a libp2p peer id, ``12D3KooW…``.

    Raises:
        InvalidData: the key has not 32 bytes.
    """
    if len(public_key) != KEY_SIZE:
        raise InvalidData(f"an Ed25519 public key has {KEY_SIZE} bytes, not {len(public_key)}")
    text: str = libipld.encode_multibase("z", _PEER_ID_PREFIX + public_key)
    return text[1:]


def public_key_of(peer_id: str) -> bytes:
    """Read the public key out of a peer id.

    Raises:
        InvalidData: it is no peer id of an Ed25519 key.
    """
    if len(peer_id) != _PEER_ID_LENGTH:
        raise InvalidData(f"{peer_id[:80]!r} is no peer id of an Ed25519 key (12D3KooW…)")
    try:
        data = bytes(libipld.decode_multibase("z" + peer_id)[1])
    except ValueError as error:
        raise InvalidData(f"{peer_id!r} is no peer id of an Ed25519 key (12D3KooW…): {error}") from error
    public_key = data[len(_PEER_ID_PREFIX) :]
    if data[: len(_PEER_ID_PREFIX)] != _PEER_ID_PREFIX or len(public_key) != KEY_SIZE:
        raise InvalidData(f"{peer_id!r} is no peer id of an Ed25519 key (12D3KooW…)")
    return public_key


def is_hex(text: Any, size: int) -> bool:
    """Say whether a value is the lower-case hex of so many bytes."""
    if type(text) is not str or len(text) != 2 * size:
        return False
    try:
        return bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def decode_identity(data: bytes) -> Identity:
    """Read an identity block and check both signatures.

    Raises:
        InvalidEntry: it is malformed or not signed by its key (reason ``identity``).
    """
    try:
        value = codec.decode(data, MAX_IDENTITY)
    except InvalidBlock as error:
        raise InvalidEntry("identity", f"the identity block is unreadable: {error}") from error
    if type(value) is not dict or value.keys() != {"id", "publicKey", "signatures", "type"}:
        raise InvalidEntry("identity", "the identity block has not the fields of an OrbitDB identity")
    key, signatures = value["publicKey"], value["signatures"]
    if value["type"] != "publickey" or not is_hex(key, KEY_SIZE):
        raise InvalidEntry("identity", "only identities of type publickey with an Ed25519 key are supported")
    if value["id"] != key:
        raise InvalidEntry("identity", "the identity's id is not its public key")
    if type(signatures) is not dict or signatures.keys() != {"id", "publicKey"}:
        raise InvalidEntry("identity", "the identity lacks its two signatures")
    id_signature, key_signature = signatures["id"], signatures["publicKey"]
    if not is_hex(id_signature, SIGNATURE_SIZE) or not is_hex(key_signature, SIGNATURE_SIZE):
        raise InvalidEntry("identity", "the identity's signatures are not hex of 64 bytes")
    public_key = bytes.fromhex(key)
    if not verify_signature(public_key, key.encode(), bytes.fromhex(id_signature)) or not verify_signature(
        public_key, (key + id_signature).encode(), bytes.fromhex(key_signature)
    ):
        raise InvalidEntry("identity", "the identity is not signed by its own key")
    return Identity(hash_of(data), data, key, key)
