"""Every command of the operator and of the reports that a document, a sample or a help text shows is a command."""

import re
import shlex
from pathlib import Path

import pytest

from loadtests.report import __main__ as report
from loadtests.report import comparison_command
from peersdb_operator import __main__ as cli
from peersdb_operator.bench_cli import options as benchmark_options

ROOT = Path(__file__).parents[2]
SHOWN = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.yaml")]


def commands():
    """All that is shown, with its place: lines of their own (of a fence, a comment, an example) and words in a text."""
    pages = {str(path.relative_to(ROOT)): path.read_text() for path in SHOWN}
    pages |= {"--help": cli._EXAMPLES, "benchmark --help": benchmark_options.EXAMPLES}
    for page, text in pages.items():
        joined = re.sub(r"\\\n\s*", "", text)
        program = r"(?:peersdb-operator|python -m loadtests\.report) "
        fenced = re.findall(rf"^[ #$]*({program}[^\n`]*)$", joined, re.MULTILINE)
        for command in (*fenced, *re.findall(rf"`({program}[^`]*)`", joined)):
            yield page, re.split(r" {2,}| #| \||>|&", command)[0].strip()


def parse(command):
    words = shlex.split(command.replace("…", ""))
    if len(words) == 2:  # `local` or `check` alone is a name in a sentence
        with pytest.raises(SystemExit, match=r"^0$"):
            cli._parser().parse_args([words[1], "--help"])
        return None
    if words[0] == "peersdb-operator":
        return cli._parser().parse_args(words[1:])
    if words[3] == "compare":
        return comparison_command.parser().parse_args(words[4:])
    return report.parser().parse_args(words[3:])


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_a_command_that_is_shown_is_one(page, command):
    parse(command)


def test_commands_are_found_where_they_stand():
    found = list(commands())
    for page in ("README.md", "docs/benchmarks.md", "docs/local.md", "docs/reports.md", "--help"):
        assert sum(1 for name, _ in found if name == page) >= 3, page
    assert ("docs/benchmarks.md", "peersdb-operator benchmark watch quickstart-contribution") in found
