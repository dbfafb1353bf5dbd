"""The tables of one node, in one place, and their version.

A format change raises `VERSION` and brings a migration; a database of another version is refused.
"""

import re

VERSION = 1

TEXT = """
-- One row: which log this repo holds, and the fingerprint of its set of entries.
CREATE TABLE log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    address TEXT NOT NULL,
    manifest BLOB NOT NULL,
    access BLOB NOT NULL,
    count INTEGER NOT NULL DEFAULT 0,
    total BLOB NOT NULL,               -- sum of the entries' hashes mod 2^256, 32 bytes big-endian
    synced INTEGER NOT NULL DEFAULT 0, -- 1 once this node was in sync with another member
    epoch INTEGER NOT NULL DEFAULT 0,  -- of this node's next entries
    wanted_to INTEGER NOT NULL DEFAULT 0 -- id of the last entry whose file a full replica wanted at a start
);

-- The entries, as signed (data) and as asked for. `digest` is the sha2-256 in the entry's CID.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    time INTEGER NOT NULL,
    key BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    path TEXT NOT NULL,
    contributor TEXT NOT NULL,
    created TEXT NOT NULL,
    name TEXT,
    size INTEGER,
    identity BLOB NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX entries_order ON entries (time, key, digest);
CREATE INDEX entries_writer ON entries (key, epoch, seq);
CREATE INDEX entries_path ON entries (path);

-- Entries without a known child.
CREATE TABLE heads (digest BLOB PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;

-- Version vector: per writer and epoch, the last seq up to which nothing is missing.
CREATE TABLE writers (
    key BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    contiguous INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (key, epoch)
) WITHOUT ROWID;

CREATE TABLE identities (digest BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;

-- Blocks up to 16 KiB; larger ones are files. Keyed by digest, so that CIDv0 and CIDv1 share them. With a rowid:
-- without one, each row larger than a quarter of a page would take a page of its own besides.
CREATE TABLE blocks (digest BLOB PRIMARY KEY, data BLOB NOT NULL);

-- Contributions whose files this node keeps (pinned) or still has to fetch (wanted).
CREATE TABLE pins (
    path TEXT PRIMARY KEY,
    pinned INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER NOT NULL DEFAULT 0   -- Unix time, seconds
) WITHOUT ROWID;
CREATE INDEX pins_wanted ON pins (next_try) WHERE pinned = 0;

-- How many of each, kept by triggers: status asks often, and counting costs a scan.
CREATE TABLE pin_counts (pinned INTEGER PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO pin_counts VALUES (0, 0), (1, 0);
CREATE TRIGGER pins_inserted AFTER INSERT ON pins BEGIN
    UPDATE pin_counts SET count = count + 1 WHERE pinned = NEW.pinned;
END;
CREATE TRIGGER pins_changed AFTER UPDATE OF pinned ON pins WHEN OLD.pinned <> NEW.pinned BEGIN
    UPDATE pin_counts SET count = count + 1 WHERE pinned = NEW.pinned;
    UPDATE pin_counts SET count = count - 1 WHERE pinned = OLD.pinned;
END;

-- This node's validation records: the original's document, and who decided it.
CREATE TABLE validations (
    path TEXT PRIMARY KEY,
    valid INTEGER NOT NULL,
    votes INTEGER NOT NULL,   -- 0: decided by this node itself
    validator TEXT NOT NULL,
    decided INTEGER NOT NULL, -- Unix time, nanoseconds
    verdict TEXT NOT NULL,
    plan BLOB NOT NULL,       -- hash of all that judged; empty: decided by votes
    reason TEXT NOT NULL
) WITHOUT ROWID;

-- Members this node has heard of, by their own signed address records.
CREATE TABLE members (peer TEXT PRIMARY KEY, seq INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;

-- Who votes. `one` and `other`: two ballots of one place, which disqualify their voter.
CREATE TABLE voters (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, peer TEXT NOT NULL, one BLOB, other BLOB);

-- Their chains: the last seq, and the hash of that ballot.
CREATE TABLE voter_chains (
    voter INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    tip BLOB NOT NULL,
    votes INTEGER NOT NULL,
    PRIMARY KEY (voter, epoch)
) WITHOUT ROWID;

CREATE TABLE ballots (
    id INTEGER PRIMARY KEY,
    voter INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (voter, epoch, seq)
);

-- What a voter's newest ballot on a file says of it, all its validators together.
-- The index has a form of its own, so that no row of it is taken for one of `entries_path` where its page is damaged.
CREATE TABLE voted (id INTEGER PRIMARY KEY, path TEXT NOT NULL);
CREATE UNIQUE INDEX voted_path ON voted (path, 1);
CREATE TABLE votes (
    file INTEGER NOT NULL,
    voter INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (file, voter)
) WITHOUT ROWID;
"""


def plain(text: str) -> str:
    """The statements without comments, on one line.

    SQLite stores a statement as it is written, and its length decides on which page the next table begins: with the
    comments, other words in one would make another file.
    """
    return " ".join(re.sub("--.*", "", text).split())


SCHEMA = plain(TEXT)
