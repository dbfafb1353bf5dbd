"""Names of the protocols and the limits of what is said on them, with their reasons."""

SYNC_PROTOCOL = "/peersdb/sync/1"
BLOCKS_PROTOCOL = "/peersdb/blocks/1"
BENCHMARK_PROTOCOL = "/peersdb/benchmark/1"
VALIDATION_PROTOCOL = "/peersdb/validation/1"

# Four batches of 256 KiB of entries in one: large enough that a round trip costs little, small enough
# that twelve peers at once hold 12 MiB.
MAX_FRAME = 1024 * 1024
LENGTH_SIZE = 4  # bytes before each frame's body

MAX_ENTRIES = 1024  # of one batch; its signatures take 60 ms to check
MAX_IDENTITIES = 1024  # at most one for each entry
MAX_WRITERS = 8192  # 80 bytes each: under 1 MiB
MAX_RANGES = 256  # of one message: sixteen, each in sixteen parts
MAX_ITEMS = 1024  # digests of one message; 32 bytes each
MAX_RECORDS = 64  # of members; 4 KiB each at most
MAX_RECORD = 4 * 1024
MAX_MANIFEST = 1024  # bytes of a manifest's or access controller's block; ours have under 200
MAX_ADDRESS = 128  # characters; "/orbitdb/zdpu…" has 58
MAX_WANTED = 256  # blocks of one request
MAX_CID = 45  # bytes; CIDv1 with the longest codec number
MAX_BLOCK = 2 * 1024 * 1024  # bytes; what IPFS's bitswap takes too
MAX_BENCHMARK = 256 * 1024  # bytes of JSON
MAX_BALLOTS = 4096  # of one message; the smallest has 270 bytes
MAX_BALLOT_BYTES = 256 * 1024  # of one message but for its last ballot: twelve peers at once hold 3 MiB
MAX_CHAINS = 8192  # of voters: 85 bytes each, under 1 MiB
TIP_SIZE = (
    8  # bytes of a hash that tell whether two chains of one length are one; what differs is proved by ballots
)
MAX_SMALL = 512  # bytes of a message without lists
FINGERPRINT_SIZE = 32
MAX_INT = 2**63 - 1  # what SQLite stores
