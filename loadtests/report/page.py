"""The HTML page: one file, plots and style inside, nothing fetched from anywhere."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from loadtests.report import headline, paper, summary, thresholds, units
from loadtests.report.data import Results
from loadtests.report.plots import Plot
from loadtests.samples import JOIN, of_kind

TEMPLATE = "page.html.j2"


def render(results: Results, plots: Sequence[Plot], directory: Path) -> str:
    """The page for results whose plots lie in ``directory``."""
    samples = results.samples
    return template(TEMPLATE).render(
        title=results.title,
        thresholds=thresholds.judge(results),
        tables=_headline(results),
        warm=results.warm,
        clocks=results.described.clocks,
        events=results.described.events,
        starts=paper.start_rows(results),
        start_series=list(paper.starts(results)),
        spreads=paper.spread_rows(results),
        spread_series=list(paper.spreads(results)),
        ours=paper.OURS,
        baseline=paper.JOINED if paper.joined(results) else paper.OWN,
        begin=results.begin,
        published=results.published,
        limits=paper.limits(results),
        run=results.run,
        verdict=summary.verdict(results),
        requests=summary.requests(samples),
        pairs=summary.pairs(samples),
        joins=sorted(of_kind(samples, JOIN), key=lambda sample: sample.ts),
        throughput=summary.throughput(samples, results.seconds),
        own=summary.own(results.benchmarks),
        benchmarks=results.benchmarks,
        plots=[(plot, inline_svg(directory / f"{plot.name}.svg", plot.name)) for plot in plots],
        names=summary.NAMES,
        samples=len(samples),
    )


def template(name: str) -> jinja2.Template:
    """A page's template with our filters."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=units.duration, size=units.size, moment=_moment, figure=units.figure, times=units.times
    )
    return environment.get_template(name)


def _headline(results: Results) -> list[dict[str, Any]]:
    """A table of metrics for each cell; one for the whole run where there are no several."""
    cells = headline.cells(results)
    whole = headline.whole(results)
    tables = [(one.cell.label, one.figures) for one in cells] if len(cells) > 1 else []
    return [
        {"title": title, "rows": rows}
        for title, figures in [("", whole), *tables]
        if (rows := [_metric_row(name, one) for name, one in figures.items() if one.value == one.value])
    ]


def _metric_row(name: str, one: headline.Figure) -> dict[str, Any]:
    unit = headline.METRICS[name].unit
    low_high = "" if one.interval is None else " to ".join(units.figure(edge, unit) for edge in one.interval)
    return {
        "name": name,
        "value": units.figure(one.value, unit),
        "interval": low_high,
        "repeats": len(one.repeats),
    }


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
