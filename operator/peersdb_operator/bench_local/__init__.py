"""A benchmark on a cluster of this machine: the same manifest as in Kubernetes, locust as processes.

What belongs here: those processes, the faults that one machine can make (a member killed) and its newcomers
(nodes with temporary repos), and taking all of it back on any exit. What does not: what a manifest means for a
load test (``load``), and anything of the load test itself, which is met as a program and by its control API.
"""
