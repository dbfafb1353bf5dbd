"""What a node does: contributions, replication, files, members, validation, benchmark.

Belongs here: policy and long-running tasks, each a class whose ``run`` lives in the node's nursery.
Banned: SQL, libp2p, HTTP and terminals; those are `store`, `net` and `api`.
"""
