"""The client: ``peersdb post|get|query|…`` ask a node by its HTTP interface.

Belongs here: the client's arguments, its HTTP over the standard library, its output. It starts in well under
150 ms, so nothing here imports an event loop, libp2p or a package at start-up; rich is imported where a
progress bar is drawn.
Banned: anything of the node's layers. The client knows the node by docs/http.md alone, as any other program does.
"""

from __future__ import annotations

#: The first words of a command line that are the client's; all other command lines are the node's.
COMMANDS = (
    "post",
    "get",
    "query",
    "connect",
    "status",
    "peers",
    "isvalid",
    "validate",
    "benchmark",
    "benchmarks",
)
