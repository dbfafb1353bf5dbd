"""libp2p, behind a narrow typed front: hosts, connections, streams and the three protocols on them.

Belongs here: everything that touches the libp2p library, and the mends for its hazards. Banned: the
database, policy (who is dialled, what is kept), HTTP. No other package imports libp2p.
"""
