"""How far apart the regions of the original's evaluation are, as round trips for the harness's ``latency``.

A profile for tests, not a measurement: light in fibre takes the great circle between two cities at two thirds of its
speed, and cables and routers make the way half as long again. A measured matrix can be given instead (`read`).
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from cluster.errors import Refused

LATENCY = "PEERSDB_E2E_LATENCY"
#: A directory with folders of files, the evaluation's workload.
DATASET = "PEERSDB_E2E_DATASET"

#: Latitude and longitude in degrees of the cities, by the names of their regions.
CITIES = {
    "asia-east2": (22.3, 114.2),  # Hong Kong; the root's in the original's evaluation
    "australia-southeast1": (-33.9, 151.2),  # Sydney
    "europe-west3": (50.1, 8.7),  # Frankfurt
    "me-west1": (32.1, 34.8),  # Tel Aviv
    "southamerica-east1": (-23.5, -46.6),  # São Paulo
    "us-west1": (45.6, -121.2),  # Oregon
}
EARTH_KM = 6371.0
#: Kilometres that light makes in fibre in a millisecond.
FIBRE_KM = 200.0
DETOUR = 1.5
#: Milliseconds that a pair needs besides.
EQUIPMENT = 2.0

Lines = dict[tuple[str, str], float]


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Kilometres between two places, by the haversine formula."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, place)) for place in (one, other))
    half = (
        math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_KM * math.asin(math.sqrt(half))


def round_trips() -> Lines:
    """Milliseconds there and back, by pair of regions."""
    return {
        (one, other): round(2 * DETOUR * distance(CITIES[one], CITIES[other]) / FIBRE_KM + EQUIPMENT, 1)
        for one, other in itertools.combinations(sorted(CITIES), 2)
    }


def read(path: Path) -> Lines:
    """A measured matrix: JSON of ``{"region/region": milliseconds of a round trip}``.

    Raises:
        Refused: it is none.
    """
    try:
        found = json.loads(path.read_text())
        lines = {(one, other): float(ms) for pair, ms in found.items() for one, other in [pair.split("/")]}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise Refused(f'{path}: no JSON of {{"region/region": milliseconds}}: {error}') from error
    wrong = [ms for ms in lines.values() if not 0 <= ms <= 10_000]
    if wrong:
        raise Refused(f"{path}: {wrong[0]} is no round trip in milliseconds")
    return lines


def told(environment: Mapping[str, str] = os.environ) -> Lines:
    """The round trips of the file that the environment names, else those of the map."""
    given = environment.get(LATENCY)
    return read(Path(given)) if given else round_trips()


def one_way(lines: Lines) -> Lines:
    """What `latency` takes: the milliseconds of one direction."""
    return {pair: ms / 2 for pair, ms in lines.items()}
