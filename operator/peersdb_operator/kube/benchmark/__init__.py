"""Benchmarks in the cluster: one `PeersDBBenchmark` becomes Jobs of load pods, and their results.

What belongs here: the objects of a run (``naming``, ``spread``, ``pods``, ``objects``, ``newcomers``: pure), the words
with the load test's master (``control``, ``watcher``), what is broken on purpose (``faults``), and the reconcile that
ties them together (``reconcile``). Load pods know nothing of the API server; the operator alone makes the faults.
"""
