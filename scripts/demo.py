"""``make demo``: a cluster of three regions on this machine, real files shared in it, measured, and ended.

Each step says what it does and shows the command that does the same by hand. Ends with 0 only if all of it worked.
"""

import argparse
import base64
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtests.cid import file_cid
from loadtests.errors import LoadTestError
from loadtests.options import ask_operator
from loadtests.process import child, tail
from loadtests.report import summary
from loadtests.report.data import Results, load
from loadtests.samples import JOIN, of_kind
from loadtests.statistics import Summary
from loadtests.targets import Node, parse_status
from loadtests.workload import default_dataset, read_file

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "deploy" / "samples" / "quickstart.yaml"
NEEDED_BYTES = 1 << 30
SHARED = ("seattle-weather.csv", "cars.json", "airports.csv")
LARGE_BYTES = 16 << 20
# A small cluster is up in 10 s; a machine that needs more than this cannot show anything.
UP_SECONDS = 90
REQUEST_SECONDS = 30
USERS = 8
NEWCOMERS = 2
# Beyond the run itself: locust's start, entries still awaited at the end, the report.
LOCUST_EXTRA_SECONDS = 90
INTERRUPTED = 130


class DemoError(Exception):
    """The demo cannot go on; ``str()`` is the one line that says why."""


@dataclass(frozen=True)
class Shared:
    """One file that went from region to region."""

    name: str
    size: int
    source: Node
    target: Node
    seen: float
    """Seconds from the answer to post until the target's query had it."""

    got: float
    """Seconds that get took."""

    same: bool
    """Whether what was got has the checksum of what was posted."""


@dataclass(frozen=True)
class Judged:
    """What a peer knows of a file that another one shared."""

    name: str
    verdict: str
    by: str
    votes: int
    reason: str
    seconds: float


class Demo:
    """The steps, in the order in which they are run."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        """Nothing happens yet."""
        self._manifest: Path = options.file
        self._seconds: int = options.seconds
        self._directory: Path = options.dir
        self._cluster: Path = options.dir / "cluster"
        self._report: Path = options.dir / "report"
        self._console = console
        self.touched = False
        """A cluster may be running."""

    def check(self) -> None:
        """Say plainly what is missing before anything is started."""
        self._step("Checks: Python, programs, disk, ports")
        for module in ("peersdb", "peersdb_operator", "locust", "matplotlib"):
            if importlib.util.find_spec(module) is None:
                raise DemoError(f"{module} is not installed: run `make demo`, or pip install 'peersdb[dev]'")
        if not self._manifest.is_file():
            raise DemoError(f"there is no manifest {self._manifest}")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._directory).free
        except OSError as error:
            raise DemoError(f"cannot write to {self._directory}: {error.strerror}") from error
        if free < NEEDED_BYTES:
            raise DemoError(f"{summary.size(free)} are free in {self._directory}: 1 GiB is needed")
        for port in (8080, 4001):
            if taken(port):
                self._console.print(f"  port {port} is in use: the cluster takes the next free ones")
        self._console.print(f"  Python {sys.version.split()[0]}, {summary.size(free)} free")

    def up(self) -> list[Node]:
        """Start the cluster of the manifest."""
        self.touched = True
        self._run(
            "A root and its regions, as processes of this machine", self._operator("up", "-f", self._manifest)
        )
        return [node for node in parse_status(ask_operator(self._cluster)) if node.url]

    def share(self, nodes: Sequence[Node]) -> list[Shared]:
        """Post real files in one region each, and get them in another."""
        self._step("Real files: posted in one region, listed and got in another")
        first = default_dataset().root / SHARED[0]
        for body in (
            f"""'{{"method": {{"cmd": "post"}}, "file": "'$(base64 -w0 {relative(first)})'"}}'""",
            """'{"method": {"cmd": "query"}}'""",
            """'{"method": {"cmd": "get"}, "args": ["/ipfs/CID"]}'""",
        ):
            self._print_command(f"curl {nodes[0].url}/peersdb/command -d {body}")
        peers = [node for node in nodes if not node.root] or list(nodes)
        by_name = {file.name: file for file in default_dataset().files}
        contents = [(name, read_file(by_name[name])) for name in SHARED]
        contents.append(("random bytes", os.urandom(LARGE_BYTES)))
        shared = []
        for turn, (name, data) in enumerate(contents):
            source = peers[turn % len(peers)]
            others = [node for node in peers if node.region != source.region] or [source]
            shared.append(share(name, data, source, others[turn % len(others)]))
        self._console.print(files_table(shared))
        return shared

    def judge(self, nodes: Sequence[Node]) -> list[Judged]:
        """Let the peers judge a file that is as it should be and one that is not."""
        self._step(
            "Validation: a good and a broken file, judged by the nodes' validators; a node answers by its own"
            " judgement, or by the votes of its peers"
        )
        self._print_command(
            f"""curl {nodes[0].url}/peersdb/command -d '{{"method": {{"cmd": "isvalid"}}, "args": ["/ipfs/CID"]}}'"""
        )
        good = read_file(next(file for file in default_dataset().files if file.name == SHARED[0]))
        broken = good + b"2016-01-01,one cell too few\n"
        peers = [node for node in nodes if not node.root] or list(nodes)
        judged = [
            judge(SHARED[0], good, peers[0], peers[-1]),
            judge(f"broken-{SHARED[0]}", broken, peers[0], peers[-1]),
        ]
        self._console.print(judged_table(judged))
        return judged

    def measure(self) -> int:
        """Run locust against the cluster. Returns its exit code."""
        name = f"Load: {USERS} users for {self._seconds} s, {NEWCOMERS} of them fresh nodes that join"
        command: list[Any] = [
            *("locust", "-f", "loadtests/locustfile.py", "--headless", "-u", USERS, "-r", USERS),
            *("-t", f"{self._seconds}s", "--newcomers", NEWCOMERS, "--only-summary"),
            *("--cluster-status", self._cluster, "--report", self._report),
        ]
        self._step(name)
        self._show(command)
        log = self._directory / "locust.log"
        with self._console.status("measuring ..."):
            code = self._wait([sys.executable, "-m", *command], log, self._seconds + LOCUST_EXTRA_SECONDS)
        if not (self._report / "run.json").is_file():
            raise DemoError(f"locust measured nothing ({log}): {tail(log)}")
        return code

    def show(self, nodes: Sequence[Node], shared: Sequence[Shared]) -> Results:
        """The result as tables."""
        self._step("Results")
        results = load(self._report)
        self._console.print(facts_table(results, [status(node) for node in nodes], shared))
        self._console.print(requests_table(results))
        self._console.print(replication_table(results))
        self._console.print(f"Report: [bold]{self._report / 'report.html'}[/bold]", soft_wrap=True)
        return results

    def down(self, *, worked: bool) -> None:
        """End the cluster; its data goes too unless something is left to look at. The report stays."""
        if worked:
            self._run(
                "The end: all processes and the cluster's data", self._operator("down", "--delete-data")
            )
        else:
            self._run("The end: all processes", self._operator("down"))
            logs = relative(self._cluster / "members")
            self._console.print(f"  the members' logs and data are left in {logs}", soft_wrap=True)
        self.touched = False

    def keep(self, nodes: Sequence[Node]) -> None:
        """Leave the cluster and say how to go on."""
        self._step("The cluster stays. To go on:")
        self._show(self._operator("status"))
        self._show(["curl", f"{nodes[0].url}/peersdb/status"])
        self._show(["locust", "-f", "loadtests/locustfile.py", "--cluster-status", self._cluster])
        self._show(self._operator("down", "--delete-data"))
        self.touched = False

    def _operator(self, command: str, *arguments: object) -> list[Any]:
        return ["peersdb-operator", "local", command, *arguments, "--dir", self._cluster]

    def _step(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def _show(self, command: Sequence[object]) -> None:
        program, *arguments = (relative(part) for part in command)
        installed = Path(sys.executable).parent / program
        if shutil.which(program) is None and installed.exists():
            program = relative(installed)  # the virtual environment is not active: show what can be typed
        self._print_command(shlex.join([program, *arguments]))

    def _print_command(self, line: str) -> None:
        self._console.print(f"  $ {line}", style="cyan", highlight=False, markup=False, soft_wrap=True)

    def _run(self, text: str, command: Sequence[object]) -> None:
        self._step(text)
        self._show(command)
        _, *arguments = command
        if self._wait([sys.executable, "-m", "peersdb_operator", *arguments], None, UP_SECONDS):
            raise DemoError(f"`{shlex.join([relative(part) for part in command])}` failed: see above")

    def _wait(self, command: Sequence[object], log: Path | None, seconds: float) -> int:
        self._console.file.flush()
        with child([str(part) for part in command], log=log, cwd=ROOT) as process:
            deadline = time.monotonic() + seconds
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise DemoError(f"{command[2]} did not end within {seconds:.0f} s")
                time.sleep(0.05)  # short enough for Ctrl-C to be felt at once
            return process.returncode


def share(name: str, data: bytes, source: Node, target: Node) -> Shared:
    """Post on one node, wait until another's query has it, get it there and compare.

    Raises:
        DemoError: a node refuses, or does not have the file in time.
    """
    ask(source, "post", file=base64.b64encode(data).decode("ascii"), name=name)
    answered = time.monotonic()
    path = f"/ipfs/{file_cid(data)}"
    while not any(entry["path"] == path for entry in ask(target, "query")):
        if time.monotonic() - answered > REQUEST_SECONDS:
            raise DemoError(f"{name} was posted on {source.name} but is not in {target.name}'s query")
        time.sleep(0.01)
    seen = time.monotonic() - answered
    began = time.monotonic()
    answer = str(ask(target, "get", path))
    got = time.monotonic() - began
    stored = Path(answer.partition(" successfully under ")[2])
    try:
        same = hashlib.sha256(stored.read_bytes()).digest() == hashlib.sha256(data).digest()
    except OSError as error:
        raise DemoError(f"{target.name} says it stored {name}, but {stored}: {error.strerror}") from error
    return Shared(name, len(data), source, target, seen, got, same)


def judge(name: str, data: bytes, source: Node, target: Node) -> Judged:
    """Post on one node and wait until another knows a verdict.

    Raises:
        DemoError: a node refuses, or knows none in time.
    """
    ask(source, "post", file=base64.b64encode(data).decode("ascii"), name=name)
    posted = time.monotonic()
    path = f"/ipfs/{file_cid(data)}"
    while True:
        found = ask(target, "query", f"path={path}")["contributions"]
        if found and found[0]["verdict"] != "unknown":
            break
        if time.monotonic() - posted > REQUEST_SECONDS:
            raise DemoError(f"{name} was posted on {source.name}, but {target.name} knows no verdict on it")
        time.sleep(0.05)
    seconds = time.monotonic() - posted
    answer = ask(target, "isvalid", path)
    reasons = {answer["reason"]} | {ask(source, "isvalid", path)["reason"]}
    return Judged(name, answer["verdict"], answer["decidedBy"], len(answer["votes"]), max(reasons), seconds)


def ask(node: Node, command: str, *args: str, **extra: str) -> Any:
    """Send a command to a node's HTTP API.

    Raises:
        DemoError: no answer, or a refusal.
    """
    body = {"method": {"argcnt": len(args), "cmd": command}, "args": list(args), **extra}
    return request(node, "/peersdb/command", json.dumps(body).encode("utf-8"))


def status(node: Node) -> dict[str, Any]:
    """What a node says of itself.

    Raises:
        DemoError: it does not answer.
    """
    value = request(node, "/peersdb/status", None)
    return value if isinstance(value, dict) else {}


def request(node: Node, path: str, body: bytes | None) -> Any:
    """One HTTP request.

    Raises:
        DemoError: no answer, or a refusal.
    """
    try:
        with urllib.request.urlopen(f"{node.url}{path}", body, REQUEST_SECONDS) as answer:  # noqa: S310  # http by parse_status
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise DemoError(
            f"{node.name} refused {path}: {error.read(500).decode('utf-8', 'replace')}"
        ) from error
    except (OSError, ValueError) as error:
        raise DemoError(f"{node.name} does not answer at {node.url}: {error}") from error


def files_table(shared: Sequence[Shared]) -> Table:
    """What was shared."""
    table = Table("File", "Size", "Posted → got", "Listed after", "Got in", "sha256", box=box.SIMPLE_HEAD)
    for one in shared:
        table.add_row(
            one.name,
            summary.size(one.size),
            f"{one.source.region}\n→ {one.target.region}",
            summary.duration(one.seen),
            summary.duration(one.got),
            "[green]same[/green]" if one.same else "[red]DIFFERS[/red]",
        )
    return table


def judged_table(judged: Sequence[Judged]) -> Table:
    """What the peers say of files."""
    table = Table("File", "Verdict", "Decided by", "Votes so far", "Known after", "Why", box=box.SIMPLE_HEAD)
    for one in judged:
        color = "green" if one.verdict == "valid" else "red"
        verdict = f"[{color}]{one.verdict}[/{color}]"
        by = "itself" if one.by == "own" else "its peers"
        table.add_row(
            one.name, verdict, by, str(one.votes), summary.duration(one.seconds), escape(one.reason)
        )
    return table


def replication_table(results: Results) -> Table:
    """Median and p99 by region pair."""
    pairs = {(pair.source, pair.target): pair.summary for pair in summary.pairs(results.samples)}
    targets = sorted({target for _, target in pairs})
    title = "Replication, median / p99: posted in (row) until listed in (column)"
    table = Table("", *targets, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for source in sorted({source for source, _ in pairs}):
        table.add_row(source, *(_times(pairs.get((source, target))) for target in targets))
    return table


def requests_table(results: Results) -> Table:
    """Rates and response times by kind of request."""
    done = summary.throughput(results.samples)
    table = Table("Under load", "Per second", "Median / p99", "Failed", box=box.SIMPLE_HEAD)
    for kind, figures in summary.requests(results.samples).items():
        failed = f"[red]{figures.failed}[/red]" if figures.failed else "0"
        rate = (figures.count - figures.failed) / done.seconds
        table.add_row(kind, f"{rate:.1f}", _times(figures), failed)
    return table


def facts_table(results: Results, statuses: Sequence[dict[str, Any]], shared: Sequence[Shared]) -> Table:
    """What is left to say, line by line."""
    regions = sorted({str(one["region"]) for one in statuses})
    counts = sorted({int(one["entries"]) for one in statuses})
    large = max(shared, key=lambda one: one.size)
    route = f"{large.source.region} → {large.target.region}"
    table = Table("", "", show_header=False, box=box.SIMPLE_HEAD)
    table.add_row("Members", f"{len(statuses)} in {', '.join(regions)}")
    table.add_row("Entries", f"{' to '.join(map(str, counts))} on each")
    table.add_row("Get of 16 MiB", f"{summary.size(large.size / large.got)}/s, {route}")
    for number, one in enumerate(of_kind(results.samples, JOIN), 1):
        text = f"has all entries {summary.duration(one.seconds)} after its start"
        table.add_row(
            f"Newcomer {number}",
            f"{text}, {one.target_region}" if one.ok else f"[red]{escape(one.error)}[/red]",
        )
    return table


def _times(figures: Summary | None) -> str:
    if figures is None:
        return ""
    failed = f" [red]{figures.failed} failed[/red]" if figures.failed else ""
    return f"{summary.duration(figures.p50)} / {summary.duration(figures.p99)}{failed}"


def failures(results: Results, code: int, shared: Sequence[Shared], judged: Sequence[Judged]) -> list[str]:
    """Everything that went wrong in a demo that came to its end."""
    found = [f"the checksum of {one.name} differs" for one in shared if not one.same]
    found += [
        f"{one.name} is {one.verdict}, say the peers"
        for one, expected in zip(judged, ("valid", "invalid"), strict=True)
        if one.verdict != expected
    ]
    found += summary.verdict(results).problems
    if code and not found:
        found.append(f"locust ended with {code}")
    return found


def taken(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def relative(part: object) -> str:
    """A path as a user in the project's directory would write it; everything else as it is."""
    if isinstance(part, Path) and part.is_relative_to(Path.cwd()):
        return str(part.relative_to(Path.cwd()))
    return str(part)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="how long the load runs (default: 30)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    parser.add_argument("--dir", type=Path, default=ROOT / "demo-run", help="where all of it is kept")
    parser.add_argument(
        "--file", type=Path, default=ROOT / "deploy" / "samples" / "quickstart.yaml", help="the manifest"
    )
    options = parser.parse_args(given)
    if options.seconds < 5:
        parser.error("--seconds must be 5 or more: a newcomer needs that long")
    options.dir, options.file = options.dir.resolve(), options.file.resolve()
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run the demo. Returns 0 if all of it worked, 1 if not, 130 if it was interrupted."""
    options = arguments(given)
    # In a log, 80 columns would break the tables' words.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    demo = Demo(options, console)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    code = 1
    try:
        demo.check()
        nodes = demo.up()
        shared = demo.share(nodes)
        judged = demo.judge(nodes)
        locust_code = demo.measure()
        results = demo.show(nodes, shared)
        problems = failures(results, locust_code, shared, judged)
        for problem in problems:
            console.print(f"[red]failed:[/red] {escape(problem)}", soft_wrap=True)
        code = 1 if problems else 0
        if options.keep:
            demo.keep(nodes)
    except (DemoError, LoadTestError) as error:
        console.print(f"[red]demo:[/red] {escape(str(error))}", soft_wrap=True)
    except KeyboardInterrupt:
        console.print("\ninterrupted: ending all processes")
        code = INTERRUPTED
    finally:
        if demo.touched:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end is short, and must come to its own end
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            try:
                demo.down(worked=code == 0)
            except (DemoError, LoadTestError) as error:
                console.print(f"[red]demo:[/red] {escape(str(error))}", soft_wrap=True)
                code = code or 1
    return code


if __name__ == "__main__":
    sys.exit(main())
