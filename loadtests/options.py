"""What the user asked for: the options of ``arguments`` and locust's own, read in one place, typed and checked.

``--profile``, ``--users``, ``--spawn-rate`` and ``--run-time`` are locust's.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtests.arguments import PROFILES, add_arguments, natural, positive
from loadtests.errors import OptionsError
from loadtests.segments import Cell, parse_matrix, parse_size, plan
from loadtests.targets import Node, parse_nodes, parse_status, read_status, read_targets

__all__ = [
    "PROFILES",
    "Options",
    "add_arguments",
    "ask_operator",
    "find_nodes",
    "natural",
    "positive",
    "read_options",
]

MIXED, EVALUATION, BOOTSTRAP, CHURN, PARTITION = "mixed", "evaluation", "bootstrap", "churn", "partition"

# `local status` reads a directory and asks each node once.
STATUS_SECONDS = 30
# What a node may take where nothing is broken, and where a member or a region is away for a while.
REPLICATION_SECONDS, FAULT_REPLICATION_SECONDS = 10.0, 60.0
# A newcomer that is a process of this machine, and one that is first a pod to be placed and started.
JOIN_SECONDS, WAVE_JOIN_SECONDS = 60.0, 300.0
GENERATED_SIZE = 16 << 10
MAX_THRESHOLDS = 100
# A token is at most a few hundred characters; more is not a file of tokens.
MAX_TOKEN_FILE = 64 << 10


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    profile: str
    nodes: str
    cluster_status: str
    targets: Path | None
    api_token_file: Path | None
    regions: tuple[str, ...]
    """Those that this process drives and watches; none: all."""

    host: str
    dataset: Path | None
    generated_files: int
    generated_size: int
    report: Path | None
    payload_size: int | None
    rate: float
    newcomers: int
    join_timeout: float
    replication_timeout: float
    seed: int | None
    users: int
    spawn_rate: float
    run_time: float | None
    """Seconds of each part; None: until somebody ends the run."""

    warmup: float
    repeats: int
    cells: tuple[Cell, ...]
    thresholds: tuple[dict[str, str], ...]
    waves: int
    per_wave: int
    control: tuple[str, int] | None
    control_token_file: Path | None
    worker_timeout: float


def read_options(parsed: Any) -> Options:
    """Turn locust's parsed options into ours; on a worker the master's, which locust hands over.

    Raises:
        OptionsError: a value that cannot be used, said in one line.
    """
    profile = getattr(parsed, "peersdb_profile", None) or parsed.profile or MIXED
    if profile not in PROFILES:
        raise OptionsError(f"there is no profile {profile!r}: choose one of {', '.join(PROFILES)}")
    if sum(bool(one) for one in (parsed.nodes, parsed.cluster_status, parsed.targets)) > 1:
        raise OptionsError("give one of --nodes, --cluster-status and --targets, not both")
    if parsed.dataset and parsed.generated_files:
        raise OptionsError("give --dataset or --generated-files, not both")
    faults = profile in (CHURN, PARTITION)
    options = Options(
        profile=profile,
        nodes=parsed.nodes,
        cluster_status=parsed.cluster_status,
        targets=_path(parsed.targets),
        api_token_file=_path(parsed.api_token_file),
        regions=tuple(name for name in parsed.region.replace(",", " ").split()),
        host=parsed.host or "",
        dataset=_path(parsed.dataset),
        generated_files=parsed.generated_files,
        generated_size=parse_size("--generated-size", parsed.generated_size or GENERATED_SIZE),
        report=_path(parsed.report),
        payload_size=parse_size("--payload-size", parsed.payload_size) if parsed.payload_size else None,
        rate=parsed.rate,
        newcomers=parsed.newcomers,
        join_timeout=_seconds(
            "--join-timeout", parsed.join_timeout, WAVE_JOIN_SECONDS if profile == BOOTSTRAP else JOIN_SECONDS
        ),
        replication_timeout=_seconds(
            "--replication-timeout",
            parsed.replication_timeout,
            FAULT_REPLICATION_SECONDS if faults else REPLICATION_SECONDS,
        ),
        seed=_number("--seed", parsed.seed),
        users=getattr(parsed, "num_users", None) or 1,
        spawn_rate=getattr(parsed, "spawn_rate", None) or 1.0,
        run_time=getattr(parsed, "run_time", None) or None,
        warmup=parsed.warmup,
        repeats=parsed.repeats,
        cells=tuple(parse_matrix(parsed.matrix)),
        thresholds=parse_thresholds(parsed.thresholds),
        waves=parsed.waves,
        per_wave=parsed.per_wave,
        control=_address(parsed.control),
        control_token_file=_path(parsed.control_token_file),
        worker_timeout=parsed.worker_timeout,
    )
    return _checked(options)


def _checked(options: Options) -> Options:
    if not options.repeats >= 1:
        raise OptionsError("--repeats must be 1 or more")
    segments = len(plan(options.cells, options.repeats))
    if segments > 1 and options.run_time is None and options.profile != EVALUATION:
        raise OptionsError("--repeats and --matrix need --run-time: how long each part takes")
    if options.run_time is not None and options.warmup >= options.run_time:
        raise OptionsError("--warmup must be shorter than --run-time, or nothing is measured")
    sizes = options.payload_size or any(cell.payload_size for cell in options.cells)
    if options.profile == EVALUATION and (options.warmup or sizes):
        raise OptionsError(
            "the evaluation posts each archive once and as it is: leave out --warmup, --payload-size and payloadSizes"
        )
    if options.control and options.control_token_file is None:
        raise OptionsError("--control needs --control-token-file: who may see the results and end the run")
    if options.control and options.report is None:
        raise OptionsError("--control needs --report: the results that it hands out")
    return options


def parse_thresholds(text: str) -> tuple[dict[str, str], ...]:
    """The thresholds in JSON: their form is checked here, what they mean is the report's.

    Raises:
        OptionsError: it is no list of thresholds.
    """
    if not text:
        return ()
    wrong = OptionsError('--thresholds must be JSON: [{"metric": "post.p99", "max": "500ms"}, ...]')
    try:
        values = json.loads(text)
    except ValueError as error:
        raise wrong from error
    if not isinstance(values, list) or len(values) > MAX_THRESHOLDS:
        raise wrong
    for value in values:
        named = isinstance(value, dict) and set(value) in ({"metric", "max"}, {"metric", "min"})
        if not named or not all(isinstance(one, str) for one in value.values()):
            raise wrong
    return tuple(values)


def read_token(path: Path) -> str:
    """The first line of a file of tokens.

    Raises:
        OptionsError: it cannot be read or holds none.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_TOKEN_FILE).split(b"\n")
    except OSError as error:
        raise OptionsError(f"cannot read the token in {path}: {error.strerror}") from error
    token = lines[0].strip()
    if not token or not token.isascii() or any(character <= 32 for character in token):
        raise OptionsError(f"the first line of {path} is no token")
    return token.decode("ascii")


def find_nodes(options: Options) -> list[Node]:
    """The nodes that the options name, with the token that they ask for; they are not asked yet.

    Raises:
        OptionsError: they cannot be told.
    """
    if options.targets:
        nodes = read_targets(options.targets)
    elif options.cluster_status:
        path = Path(options.cluster_status)
        nodes = parse_status(ask_operator(path)) if path.is_dir() else read_status(path)
    else:
        nodes = parse_nodes(options.nodes or options.host or "http://127.0.0.1:8080")
    if options.api_token_file is None:
        return nodes
    token = read_token(options.api_token_file)
    return [replace(node, token=token) for node in nodes]


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


def _address(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) < 1 << 16:
        raise OptionsError(f"--control must be HOST:PORT, not {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def _seconds(name: str, text: str, default: float) -> float:
    if text in ("", None):
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise OptionsError(f"{name} must be a number above 0, not {text!r}")
    return value


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise OptionsError(f"{name} must be a whole number, not {text!r}")
    return int(text)
