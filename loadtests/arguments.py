"""The load test's own options as they are declared on locust's parser, each also an environment variable."""

import argparse
from typing import Any

PROFILES = (
    "mixed",
    "evaluation",
    "bootstrap",
    "contribution",
    "steady",
    "burst",
    "readers",
    "large-files",
    "churn",
    "partition",
    "soak",
)


def add_arguments(parser: Any) -> None:
    """Declare the options on locust's parser (an ``argparse`` parser that also takes ``env_var``)."""
    group = parser.add_argument_group("PeersDB", "What is tested, and with what")

    def add(name: str, text: str, metavar: str, **extra: Any) -> None:
        variable = f"LOADTEST_{name.upper().replace('-', '_')}"
        extra.setdefault("default", "")
        group.add_argument(f"--{name}", env_var=variable, help=text, metavar=metavar, **extra)

    _nodes(add)
    _work(add)
    _parts(add)
    _control(add)


def _nodes(add: Any) -> None:
    add(
        "nodes",
        "the nodes' HTTP APIs (default: --host, else http://127.0.0.1:8080); one without a region is asked",
        "URL[=REGION],...",
    )
    add(
        "cluster-status",
        "take the nodes from the output of `peersdb-operator local status -o json`, or the cluster in DIR",
        "FILE|DIR",
    )
    add(
        "targets",
        'take the nodes from JSON: {"members": [{"name", "http", "region", "role"}]}; one that does not answer is a '
        "problem of the run, not its end",
        "FILE",
    )
    add("api-token-file", "a file whose first line is the token that the nodes ask for", "FILE")
    add(
        "region",
        "this process drives and watches the nodes of these regions alone (default: all)",
        "NAME[,NAME...]",
    )


def _work(add: Any) -> None:
    add(
        "dataset",
        "post the files of this directory (default: the public data sets of the package vega_datasets)",
        "DIR",
    )
    add(
        "generated-files",
        "instead of a data set, make up so many files of --generated-size",
        "N",
        type=natural,
        default=0,
    )
    add("generated-size", "of each generated file, such as 4096 or 64Ki (default: 16Ki)", "BYTES")
    add("report", "write raw samples and the report here; new, empty, or of an older report", "DIR")
    add(
        "payload-size",
        "cut or repeat each file to this size, such as 4096 or 64Ki (default: the files as they are)",
        "BYTES",
    )
    add(
        "rate",
        "requests a second that each user has on its schedule (default: 2)",
        "PER_SECOND",
        type=positive,
        default=2.0,
    )
    add(
        "newcomers",
        "mixed: fresh nodes that join during the run, one after the other; they count as users (default: 1)",
        "N",
        type=natural,
        default=1,
    )
    add("join-timeout", "a newcomer that has not caught up by then has failed", "SECONDS")
    add("replication-timeout", "an entry that another node does not have by then has failed", "SECONDS")
    add(
        "seed",
        "make the choice of files repeatable; the nodes must then be empty, since the payloads repeat too",
        "NUMBER",
    )


def _parts(add: Any) -> None:
    add(
        "warmup",
        "of each part of the run: what begins in it is kept and is in no figure (default: 0)",
        "SECONDS",
        type=not_negative,
        default=0.0,
    )
    add("repeats", "how often each cell is run (default: 1)", "N", type=natural, default=1)
    add("matrix", 'the cells: {"regions": [1, 3], "peers": [1, 2], "payloadSizes": ["64Ki"]}', "JSON")
    add(
        "thresholds",
        'what must hold, judged by the report: [{"metric": "replication.p99", "max": "500ms"}]',
        "JSON",
    )
    add("waves", "bootstrap: waves of newcomers (default: 1)", "N", type=natural, default=1)
    add("per-wave", "bootstrap: newcomers of a wave (default: 6)", "N", type=natural, default=6)


def _control(add: Any) -> None:
    add("control", "serve the control API here; it asks for a token", "HOST:PORT")
    add("control-token-file", "a file whose first line is the token of the control API", "FILE")
    add(
        "worker-timeout",
        "workers that are not there by then are a problem, and the run begins without them (default: 120)",
        "SECONDS",
        type=positive,
        default=120.0,
    )


def positive(text: str) -> float:
    """A number above 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def not_negative(text: str) -> float:
    """A number of 0 or more.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    return 0.0 if text.strip("0.") == "" and text.strip(".") else positive(text)


def natural(text: str) -> int:
    """A whole number of 0 or more.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)
