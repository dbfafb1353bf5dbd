"""A cluster as processes of this machine: the default backend, in place of Kubernetes.

What belongs here: the supervisor and its directory, and the commands that a user gives (``commands``). What
does not: any decision about which members there are or in which order they start, which is pure and shared
(``members``, ``plan``, ``status``).

One writer a file: commands write ``cluster.json`` (what should be), the supervisor writes ``members.json``
(what it started) and ``status.json`` (what it sees). Locks are ``flock``s, which end with their process.
"""
