"""A real Kubernetes cluster on one Linux machine, made from package registries alone: the project's test harness.

What belongs here: building the programs (`versions`, `golang`, `build`), the API server alone for tests of the
reconcile loop (`api_server`), machines made of namespaces (`machine`), the control plane and the nodes that run in
them (`control_plane`, `node`), images (`images`), faults (`partition`, `latency`, `api_faults`) and simulated nodes
(`simulated`). What does not: anything of PeersDB itself, which is reached through Kubernetes only, and tests.

`harness.Harness` is what tests use; ``python -m cluster --help`` lists the commands.
"""
