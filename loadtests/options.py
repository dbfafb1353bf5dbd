"""The load test's own options, beside locust's: read in one place, typed, each also an environment variable.

``--profile`` is locust's own option; here its value chooses what is run.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.errors import OptionsError
from loadtests.targets import Node, parse_nodes, parse_status, read_status
from loadtests.workload import MAX_FILE, SALT_BYTES

MIXED, EVALUATION = "mixed", "evaluation"
PROFILES = (MIXED, EVALUATION)

# `local status` reads a directory and asks each node once.
STATUS_SECONDS = 30


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    profile: str
    nodes: str
    cluster_status: str
    host: str
    dataset: Path | None
    report: Path | None
    payload_size: int | None
    rate: float
    newcomers: int
    join_timeout: float
    replication_timeout: float
    max_probes: int
    seed: int | None


def add_arguments(parser: Any) -> None:
    """Declare the options on locust's parser (an ``argparse`` parser that also takes ``env_var``)."""
    group = parser.add_argument_group("PeersDB", "What is tested, and with what")

    def add(name: str, text: str, metavar: str, **extra: Any) -> None:
        variable = f"LOADTEST_{name.upper().replace('-', '_')}"
        group.add_argument(f"--{name}", env_var=variable, help=text, metavar=metavar, **extra)

    add(
        "nodes",
        "the nodes' HTTP APIs (default: --host, else http://127.0.0.1:8080); one without a region is asked",
        "URL[=REGION],...",
        default="",
    )
    add(
        "cluster-status",
        "take the nodes from the output of `peersdb-operator local status -o json`, or the cluster in DIR",
        "FILE|DIR",
        default="",
    )
    add(
        "dataset",
        "post the files of this directory (default: the public data sets of the package vega_datasets)",
        "DIR",
        default="",
    )
    add(
        "report",
        "write raw samples and the report here; the directory must be new, empty or hold an older report",
        "DIR",
        default="",
    )
    add(
        "payload-size",
        "cut or repeat each file to this size (default: the files as they are)",
        "BYTES",
        default="",
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
        "fresh nodes that join during the run, one after the other; they count as users (default: 1)",
        "N",
        type=natural,
        default=1,
    )
    add(
        "join-timeout",
        "a newcomer that has not caught up by then has failed (default: 60)",
        "SECONDS",
        type=positive,
        default=60.0,
    )
    add(
        "replication-timeout",
        "an entry that another node does not have by then has failed (default: 10)",
        "SECONDS",
        type=positive,
        default=10.0,
    )
    add(
        "max-probes",
        "entries whose replication is watched at once, per worker; more posts go unwatched (default: 8)",
        "N",
        type=natural,
        default=8,
    )
    add(
        "seed",
        "make the choice of files repeatable; the nodes must then be empty, since the payloads repeat too",
        "NUMBER",
        default="",
    )


def read_options(parsed: Any) -> Options:
    """Turn locust's parsed options into ours.

    Raises:
        OptionsError: a value that cannot be used, said in one line.
    """
    profile = parsed.profile or MIXED
    if profile not in PROFILES:
        raise OptionsError(f"there is no profile {profile!r}: choose one of {', '.join(PROFILES)}")
    if parsed.nodes and parsed.cluster_status:
        raise OptionsError("give --nodes or --cluster-status, not both")
    size = _number("--payload-size", parsed.payload_size)
    if size is not None and not SALT_BYTES <= size <= MAX_FILE:
        raise OptionsError(f"--payload-size must lie between {SALT_BYTES} and {MAX_FILE} bytes")
    return Options(
        profile=profile,
        nodes=parsed.nodes,
        cluster_status=parsed.cluster_status,
        host=parsed.host or "",
        dataset=Path(parsed.dataset) if parsed.dataset else None,
        report=Path(parsed.report) if parsed.report else None,
        payload_size=size,
        rate=parsed.rate,
        newcomers=parsed.newcomers,
        join_timeout=parsed.join_timeout,
        replication_timeout=parsed.replication_timeout,
        max_probes=parsed.max_probes,
        seed=_number("--seed", parsed.seed),
    )


def find_nodes(options: Options) -> list[Node]:
    """The nodes that the options name; the nodes themselves are not asked yet.

    Raises:
        OptionsError: they cannot be told.
    """
    if options.cluster_status:
        path = Path(options.cluster_status)
        return parse_status(ask_operator(path)) if path.is_dir() else read_status(path)
    return parse_nodes(options.nodes or options.host or "http://127.0.0.1:8080")


def ask_operator(directory: Path) -> str:
    """The output of ``peersdb-operator local status`` for the cluster in a directory.

    Raises:
        OptionsError: there is no operator, or no cluster.
    """
    module = [sys.executable, "-m", "peersdb_operator"]
    command = [*module, "local", "status", "--dir", str(directory), "-o", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STATUS_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise OptionsError(f"the cluster in {directory} does not say its status") from error
    if done.returncode:
        raise OptionsError(f"no status of the cluster in {directory}: {done.stderr.strip()}")
    return done.stdout


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


def natural(text: str) -> int:
    """A whole number of 0 or more.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise OptionsError(f"{name} must be a whole number, not {text!r}")
    return int(text)
