"""The operator: one ``PeersDBCluster`` manifest becomes a root and regions of peers, one ``PeersDBBenchmark`` a
measurement of them.

What belongs here: reading and judging the manifests (``cluster``, ``benchmark``), deciding which members and
objects they mean (``members``, ``builders``, ``plan``, ``status``: all pure) and running them (``local``:
processes on this machine). What does not: anything of the node itself, which is reached by its HTTP API and
started as a process only.
"""

__version__ = "0.1.0"
