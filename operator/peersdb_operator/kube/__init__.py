"""The Kubernetes backend: watches clusters and what they are made of, and makes them what their manifests say.

What belongs here: the API server's client (``client``, ``kinds``), caches fed by watches (``informer``, ``cache``), the
queue and the lease (``workqueue``, ``lease``), one idempotent ``reconcile`` with its pure parts (``desired``,
``drift``, ``observed``, ``conditions``, ``secrets``), what pods say of themselves (``poller``), and the process around
it (``run``), where alone kopf is imported. What a manifest means is decided outside of it.
"""
