"""Load tests: locust drives each node by its HTTP API, and a report is drawn from raw samples.

What belongs here: users and profiles, the workload, the measurements and the report. What does not: anything
imported from the node or the operator. They are met over HTTP, files and processes only, because locust
patches the standard library with gevent (which trio does not survive) and because a measurement must not
share code with what it measures.

Two halves, kept apart on purpose:

- ``statistics``, ``samples``, ``targets``, ``segments``, ``faults``, ``cid``, ``workload``, ``benchmarks``,
  ``process``, ``arguments``, ``options``, ``fetch``, ``report``: plain Python, never importing locust or gevent. Tests,
  ``scripts/demo.py`` and ``python -m loadtests.report`` use them.
- ``locustfile``, ``lifecycle``, ``run`` (where load is made), ``direction`` (where it is directed), ``profiles``,
  ``client``, ``progress``: on locust. ``replication``, ``feed``, ``clocks``, ``sampler``, ``waves``, ``board`` and
  ``control`` use gevent, but not locust, so that they can be tested in place.
"""
