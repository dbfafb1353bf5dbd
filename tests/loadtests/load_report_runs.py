"""Files of runs, as a load test leaves them, for tests of what is drawn from them."""

import csv
import json
import random
from html.parser import HTMLParser

COLUMNS = (
    *("ts", "kind", "source", "target", "source_region", "target_region", "seconds", "late", "error_bar"),
    *("bytes", "ok", "error", "segment"),
)
NODE_COLUMNS = ("ts", "node", "region", "mem_bytes", "cpu_percent", "entries", "peers", "wanted")
REGIONS = ("eu-west1", "us-east1", "asia-east2")
BEGIN = 1_700_000_000.0
SECONDS = 30.0
WARMUP = 5.0


def sample(ts, kind, source, target="", *, seconds, ok=True, segment=0, late=0.0):
    """One row of ``samples.csv``; a node is named by its region and a number."""
    regions = [name.rpartition("-")[0] for name in (source, target)]
    values = (
        ts,
        kind,
        source,
        target,
        *regions,
        seconds,
        late,
        0.004,
        5000,
        int(ok),
        "" if ok else "it broke",
    )
    return dict(zip(COLUMNS, (*values, segment), strict=True))


def rows_of(segment, began, *, rng, names, slower=1.0, count=120, failing=0):
    """Rows of one segment: what a contributor and a reader do, and a slow warm-up."""
    rows = []
    for turn in range(count):
        ts = began + SECONDS * turn / count
        cold = 20.0 if ts < began + WARMUP else 1.0
        source = names[turn % len(names)]
        for kind in ("post", "get", "query", "isvalid"):
            seconds = rng.lognormvariate(-4, 0.4) * slower * cold
            rows.append(sample(ts, kind, source, seconds=seconds, late=rng.random() / 1000, segment=segment))
        for target in names:
            if target != source:
                seconds = rng.lognormvariate(-2.5, 0.3) * slower * cold
                rows.append(sample(ts, "replication", source, target, seconds=seconds, segment=segment))
    measured = [row for row in rows if row["ts"] >= began + WARMUP and row["kind"] == "replication"]
    for row in measured[:failing]:
        row.update(ok=0, error="not there within 10 s", seconds=10.0)
    return rows


def write_run(
    directory,
    *,
    seed=1,
    repeats=1,
    cells=({},),
    slower=1.0,
    failing=0,
    joins=(),
    peers=1,
    regions=REGIONS,
    nodes_measure=True,
    **fields,
):
    """Write the files of a run. ``fields`` go into ``run.json``. Returns the directory."""
    rng = random.Random(seed)
    names = [f"{region}-{peer}" for region in regions for peer in range(peers)]
    rows, segments = [], []
    began = BEGIN
    for cell in cells:
        for repeat in range(1, repeats + 1):
            index = len(segments)
            rows += rows_of(index, began, rng=rng, names=names, slower=slower, failing=failing)
            segments.append(
                {
                    "index": index,
                    "cell": cell,
                    "repeat": repeat,
                    "began": began,
                    "ended": began + SECONDS,
                    "warm_until": began + WARMUP,
                }
            )
            began += SECONDS + 5
    rows += list(joins)
    directory.mkdir(parents=True, exist_ok=True)
    write_rows(directory / "samples.csv", COLUMNS, rows)
    looks = [
        {
            "ts": BEGIN + second,
            "node": name,
            "region": name.rpartition("-")[0],
            "mem_bytes": 90_000_000 + place * 2_000_000 + int(second) * 100_000,
            "cpu_percent": 20 + rng.random() * 5,
            "entries": 10,
            "peers": 2,
            "wanted": 0,
        }
        for second in range(int(began - BEGIN))
        for place, name in enumerate(names)
    ]
    write_rows(directory / "nodes.csv", NODE_COLUMNS, looks)
    run = {
        "format": 1,
        "profile": "contribution",
        "started": BEGIN,
        "ended": began,
        "command": "locust --headless",
        "nodes": [
            {
                "name": name,
                "region": name.rpartition("-")[0],
                "root": name == names[0],
                "version": "0.1.0",
                "url": f"http://{name}:8080",
            }
            for name in names
        ],
        "dataset": {"name": "vega", "files": 17, "bytes": 850_000, "skipped": []},
        "options": {"rate": "2.0", "users": "6"},
        "environment": {"Python": "CPython 3.11"},
        "segments": segments,
        **fields,
    }
    (directory / "run.json").write_text(json.dumps(run))
    if nodes_measure:
        values = [own(name.rpartition("-")[0], rng, start=BEGIN) for name in names]
        (directory / "benchmark.json").write_text(json.dumps(values))
    return directory


def own(region, rng, *, bootstrap=0.4, slower=1.0, start=0.0):
    """What one node measured of itself, in the original's format."""
    average = 0.08 * slower * (1 + rng.random() / 10)
    return {
        "bootstrap": bootstrap,
        "averagec": average,
        "minc": average / 3,
        "maxc": average * 7,
        "region": region,
        "samples": [{"ts": stamp(start + at), "membytes": 50_000_000, "cpupercent": 12.5} for at in (1, 11)],
    }


def stamp(seconds):
    """A time as Go writes it, to nanoseconds."""
    minutes, rest = divmod(seconds % 3600, 60)
    return f"2023-07-25T13:{int(minutes):02}:{rest:012.9f}Z"


def write_rows(path, columns, rows):
    """A CSV file of dictionaries."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


class Page(HTMLParser):
    """A page, its tags closed in order, its tables as rows of texts."""

    VOID = frozenset(("meta", "br", "path", "use", "rect", "image"))

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.titles, self.count = [], [], [], {}
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "h2":
            self.titles.append("")

    def handle_startendtag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another tag at {self.getpos()}"

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        elif self.open and self.open[-1] == "h2":
            self.titles[-1] += data

    def row(self, first):
        """The first row whose first cell has this text."""
        return next(row for row in self.rows if row and row[0].strip() == first)
