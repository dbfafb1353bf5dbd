"""What a person sees: one line while a benchmark runs, its figures and thresholds at the end."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from peersdb_operator.bench_cli.standing import Standing, Summary
from peersdb_operator.live import Rewritten

BAR = 24
"""Characters of the bar."""
STEP = 0.1
"""Of the whole: a line for each where there is no terminal."""


class Line(Rewritten):
    """The line of a run: rewritten on a terminal, one more for each stage and each tenth elsewhere."""

    def __init__(self, console: Console) -> None:
        """Show nothing yet."""
        super().__init__(console)
        self._said = ""
        self._problems: set[str] = set()

    def show(self, standing: Standing) -> None:
        """Show how it stands; each problem once, on a line that stays."""
        for problem in standing.problems:
            if problem not in self._problems:
                self._problems.add(problem)
                self.console.print(Text(f"problem: {problem}", style="yellow"), soft_wrap=True)
        text = f"{standing.done * 100:3.0f} %  {standing.stage}  {', '.join(standing.facts)}".rstrip()
        if self.has_place:
            filled = round(standing.done * BAR)
            bar = Text("━" * filled, style="green") + Text("━" * (BAR - filled), style="dim")
            self.draw(bar + Text(f" {text}", overflow="ellipsis", no_wrap=True))
            return
        mark = f"{int(standing.done / STEP)} {standing.stage}"
        if mark != self._said:
            self._said = mark
            self.console.print(Text(text), soft_wrap=True)


def print_summary(console: Console, name: str, summary: Summary) -> None:
    """Print figures, thresholds and the verdict."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for figure, value in summary.figures:
        table.add_row(figure, value)
    for verdict in summary.thresholds:
        word = Text("kept", style="green") if verdict.passed else Text("MISSED", style="bold red")
        table.add_row(f"{verdict.metric} {verdict.limit}", verdict.value, word)
    if table.row_count:
        console.print(table)
    for problem in summary.problems:
        console.print(Text(f"problem: {problem}", style="yellow"), soft_wrap=True)
    word = Text("passed", style="green") if summary.passed else Text("failed", style="bold red")
    console.print(Text(f"{name}: ") + word)
