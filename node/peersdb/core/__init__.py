"""Pure core: bytes and values in, bytes and values out.

What belongs here: formats (CIDs, dag-cbor, UnixFS, entries, wire messages), the rules that decide
whether data may join, and plans (what a join accepts, what a peer lacks). What is banned: files,
sockets, threads, trio, the clock and the random number generator. Time, keys and seeds are
arguments, so every law of the data can be tested without a network. Only the standard library,
libipld (dag-cbor, multibase) and PyNaCl (Ed25519) are imported.
"""
