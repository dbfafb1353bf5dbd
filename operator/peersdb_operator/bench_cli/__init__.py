"""What a person at a terminal asks of benchmarks: run, watch, report, compare.

What belongs here: the commands' options, what they print, and the API server seen from a terminal (a manifest
applied, its status followed, its results fetched). What does not: running a benchmark, which is the operator's in
Kubernetes (``kube``) and ``bench_local``'s on this machine.
"""
