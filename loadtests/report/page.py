"""The HTML page: one file, plots and style inside, nothing fetched from anywhere."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from loadtests.report import summary
from loadtests.report.data import Results
from loadtests.report.plots import Plot
from loadtests.samples import JOIN, of_kind
from loadtests.statistics import Summary

TEMPLATE = "page.html.j2"


def render(results: Results, plots: Sequence[Plot], directory: Path) -> str:
    """The page for results whose plots lie in ``directory``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(duration=summary.duration, size=summary.size, moment=_moment)
    samples = results.samples
    return environment.get_template(TEMPLATE).render(
        title=results.title,
        run=results.run,
        verdict=summary.verdict(results),
        requests=summary.requests(samples),
        pairs=summary.pairs(samples),
        joins=sorted(of_kind(samples, JOIN), key=lambda sample: sample.ts),
        throughput=summary.throughput(samples),
        own=summary.own(results.benchmarks),
        benchmarks=results.benchmarks,
        plots=[(plot, inline_svg(directory / f"{plot.name}.svg", plot.name)) for plot in plots],
        names=summary.NAMES,
        samples=len(samples),
    )


def inline_svg(path: Path, name: str) -> Markup:
    """An SVG file as part of a page: no XML header, and ids that no other plot of the page has."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    return Markup(text)  # noqa: S704  # drawn here by matplotlib, which escapes its texts


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def table(results: Results) -> dict[str, Any]:
    """The figures of the page for programs: ``summary.json``. Seconds; null stands for a failure or no
    value.
    """
    judged = summary.verdict(results)
    return {
        "passed": judged.passed,
        "problems": list(judged.problems),
        "requests": {kind: _figures(one) for kind, one in summary.requests(results.samples).items()},
        "replication": [
            {"source": one.source, "target": one.target, "error_bar": one.error_bar, **_figures(one.summary)}
            for one in summary.pairs(results.samples)
        ],
        "newcomers": [
            {"region": one.target_region, "seconds": one.seconds if one.ok else None, "error": one.error}
            for one in of_kind(results.samples, JOIN)
        ],
        "throughput": vars(summary.throughput(results.samples)),
        "own": [vars(one) for one in summary.own(results.benchmarks)],
    }


def _figures(one: Summary) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in vars(one).items()}
