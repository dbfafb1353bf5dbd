"""The client's command line and the two variables of the environment that it reads."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from peersdb.client.errors import FileProblem, Misused

DEFAULT_API = "http://127.0.0.1:8080"
#: The port of a node's HTTP interface where an address says neither scheme nor port, as in ``-bootstrap``.
DEFAULT_PORT = 8080
#: A token file is read so far, in bytes; a token is some dozens.
MAX_TOKEN_FILE = 64 * 1024

EXIT_CODES = """\
exit status:
  0  done          1  failed: one line says why, with a code
  2  wrong usage   3  isvalid: the file is not valid
  130 interrupted  141 whoever read the output went away
"""


class Endpoint(NamedTuple):
    """Where a node's HTTP interface is; ``url`` as the user gave it, for messages."""

    url: str
    secure: bool
    host: str
    port: int
    prefix: str


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are raised, for one way out of the program."""

    def error(self, message: str) -> NoReturn:
        raise Misused(f"{message} (see {self.prog} --help)")


def parse(argv: Sequence[str], env: Mapping[str, str]) -> argparse.Namespace:
    """Reads the command line; ``--help`` is printed and ends the program, as argparse does it.

    Args:
        argv: the arguments, the first of them one of `peersdb.client.COMMANDS`.
        env: the environment.

    Raises:
        Misused: it is wrong; the message says how.
    """
    parser = _Parser(prog="peersdb", add_help=False, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, example: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            description=text,
            epilog=f"example:\n{example}\n\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )
        made.add_argument("-h", "-help", "--help", action="help", help="show this help")
        made.add_argument(
            "--api",
            metavar="URL",
            default=env.get("PEERSDB_API") or DEFAULT_API,
            help=f"the node's HTTP interface (default: PEERSDB_API, else {DEFAULT_API})",
        )
        made.add_argument(
            "--api-token-file",
            metavar="FILE",
            default=env.get("PEERSDB_API_TOKEN_FILE") or None,
            help="file with the token that the node asks for (default: PEERSDB_API_TOKEN_FILE, else none)",
        )
        return made

    post = command(
        "post",
        "Shares files, of any size. Prints the path of each, by which every member can get it.",
        "  peersdb post runtimes.csv traces.parquet\n"
        "  zcat runtimes.csv.gz | peersdb post --name runtimes.csv -",
    )
    post.add_argument("files", metavar="FILE", nargs="+", help="a file to share; - is the standard input")
    post.add_argument("--name", help="the name it is shared under (default: the file's own)")
    get = command(
        "get",
        "Lets the node fetch a file into its download directory; prints where it lies on the node's machine.",
        "  peersdb get /ipfs/bafkreibyklockzfol3n4suwf34hrgptneg3lppbrqo5wrdussz7vw3sdx4",
    )
    get.add_argument("path", metavar="PATH", help="/ipfs/<cid> or <cid>")
    get.add_argument("--only-valid", action="store_true", help="refuse it unless it is known to be valid")
    query = command(
        "query",
        "Lists the contributions in the order they came to the node: a table on a terminal, else lines of path,\n"
        "contributor, time, size and name with tabs between them.",
        "  peersdb query --limit 10\n  peersdb query | cut -f1",
    )
    query.add_argument("--path", metavar="PATH", help="those of one file: /ipfs/<cid> or <cid>")
    query.add_argument(
        "--since", metavar="CURSOR", help='those that came after; a "cursor" that --json showed'
    )
    query.add_argument("--limit", metavar="N", type=_count, help="at most so many")
    query.add_argument(
        "--verdict",
        choices=("valid", "invalid", "unknown"),
        help="those of this verdict, as far as the node knows it",
    )
    query.add_argument(
        "--json", action="store_true", help="the node's own answer (without the options above: the whole log)"
    )
    connect = command(
        "connect",
        "Connects the node to a peer.",
        "  peersdb connect /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWLesyjPYDf3pj9TUJCcZuid3cG5w1GQ9AEafrbyJGTuT2",
    )
    connect.add_argument("address", metavar="ADDR", help="a multiaddr with /p2p/<peer id>")
    for name, text in (
        ("status", "Shows the node's state."),
        ("peers", "Lists the peers the node is connected to: peer id, region, whether it is a root."),
        ("benchmark", "Shows what the node measured; it has to run with -benchmark."),
        ("benchmarks", "Shows what the node and its peers measured; they have to run with -benchmark."),
    ):
        made = command(name, text, f"  peersdb {name} --json")
        made.add_argument("--json", action="store_true", help="the node's own answer")
    for name, text in (
        ("isvalid", "Asks the node whether a file is valid: by the votes of its peers, or by its own check."),
        ("validate", "Lets the node run its validators on a file now, and vote."),
    ):
        made = command(
            name, text, f"  peersdb {name} /ipfs/bafkreibyklockzfol3n4suwf34hrgptneg3lppbrqo5wrdussz7vw3sdx4"
        )
        made.add_argument("path", metavar="PATH", help="/ipfs/<cid> or <cid>")
        made.add_argument("--json", action="store_true", help="the node's own answer")

    given = parser.parse_args(argv)
    if given.command == "post":
        _check_post(given.files, given.name)
    return given


def endpoint(url: str) -> Endpoint:
    """The parts of ``--api``: a URL, or ``host[:port]``.

    Raises:
        Misused: it is neither.
    """
    wrong = Misused(f"--api: {url!r} is no address of a node: give http://host:port")
    given = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise wrong from None
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.query
        or parts.fragment
        or port == 0
    ):
        raise wrong
    if parts.username is not None:
        raise Misused("--api: a name or password in it is not used: give the token by --api-token-file")
    if not re.fullmatch(r"[!-~]*", given):
        raise wrong
    if port is None:
        port = DEFAULT_PORT if given != url else 443 if parts.scheme == "https" else 80
    return Endpoint(url, parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/"))


def read_token(file: str) -> str:
    """The token in a file: its first line that is not empty. While a token is changed, that is the new one.

    Raises:
        FileProblem: it cannot be read, or holds no token.
    """
    try:
        with open(file, "rb") as source:  # noqa: PTH123 - pathlib costs the start 5 ms
            content = source.read(MAX_TOKEN_FILE)
    except OSError as error:
        raise FileProblem(f"cannot read the token file {file}: {error.strerror}") from None
    for line in content.splitlines():
        if token := line.strip():
            # RFC 6750, section 2.1; anything else cannot stand in a header.
            if re.fullmatch(rb"[A-Za-z0-9\-._~+/]+=*", token):
                return token.decode("ascii")
            break
    raise FileProblem(
        f"the token file {file} holds no token: it needs one line of letters, digits and -._~+/"
    )


def _check_post(files: Sequence[str], name: str | None) -> None:
    if name is not None and len(files) > 1:
        raise Misused("--name is for one file: post the others by themselves (see peersdb post --help)")
    if name == "":
        raise Misused("--name is empty: leave it out to share without a name of your own")
    if files.count("-") > 1:
        raise Misused("the standard input (-) can be posted once only")


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)
