"""Rivals, measured beside our nodes in the same run and in the same way: ``python -m benchmarks --rivals``.

Each is a node program that answers commands, one line of JSON each way (``iroh_node.py``, ``orbitdb_node.mjs``),
driven by ``drive.py``. They are no dependency of the project: each run installs them into a directory that it throws
away. They run in a network of their own that has loopback alone, so whatever else they would look for is not there.
"""
