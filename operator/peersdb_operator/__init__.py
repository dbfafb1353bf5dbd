"""The operator: one ``PeersDBCluster`` manifest becomes a root and regions of peers.

What belongs here: reading and judging the manifest (``cluster``), deciding which members and objects it means
(``members``, ``builders``, ``plan``, ``status``: all pure) and running them (``local``: processes on this
machine). What does not: anything of the node itself, which is reached by its HTTP API and started as a
process only.
"""
