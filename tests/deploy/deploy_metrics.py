"""Every metric that the dashboard and the alerts may name, with its labels: the one list.

Prometheus adds the labels of ``SCRAPED`` to what a PodMonitor finds; the one for members adds those of
``RELABELLED``.
"""

HISTOGRAM = ("_bucket", "_sum", "_count")

#: Exported by each replica of the operator at its port 8081.
OPERATOR = {
    "peersdb_operator_reconciles_total": {"result"},
    **{f"peersdb_operator_reconcile_seconds{part}": {"le"} for part in HISTOGRAM},
    "peersdb_operator_queue_length": set(),
    "peersdb_operator_leader": set(),
    "peersdb_operator_api_writes_total": {"kind", "verb"},
    **{f"peersdb_operator_pod_poll_seconds{part}": {"le"} for part in HISTOGRAM},
    "peersdb_cluster_ready": {"namespace", "cluster"},
    "peersdb_cluster_members": {"namespace", "cluster", "region", "state"},
    "peersdb_cluster_heads_lag_entries": {"namespace", "cluster", "region"},
    "peersdb_cluster_replication_lag_seconds": {"namespace", "cluster", "region"},
}

#: Exported by each member at its HTTP port.
MEMBER = {
    "peersdb_http_requests_total": {"what", "status"},
    **{f"peersdb_http_request_seconds{part}": {"what", "le"} for part in HISTOGRAM},
    "peersdb_ready": set(),
    "peersdb_entries": set(),
    "peersdb_heads": set(),
    "peersdb_pending_entries": set(),
    "peersdb_peers": set(),
    "peersdb_members": set(),
    "peersdb_files_wanted": set(),
    "peersdb_files_pinned": set(),
    "peersdb_memory_bytes": set(),
    "peersdb_cpu_seconds": set(),
    "peersdb_uptime_seconds": set(),
    "peersdb_info": {"version", "region", "root"},
}

SCRAPED = {"namespace", "pod", "container", "endpoint", "instance", "job"}
RELABELLED = {"cluster", "region", "role"}

#: Every metric with all labels that a query may use.
LABELS = {
    **{name: labels | SCRAPED for name, labels in OPERATOR.items()},
    **{name: labels | SCRAPED | RELABELLED for name, labels in MEMBER.items()},
}
