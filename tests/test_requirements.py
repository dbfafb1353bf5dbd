"""The locked lists have what pyproject.toml asks for: a list that was forgotten shows only in an image that starts."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(requirements):
    return {re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-") for line in requirements}


@pytest.mark.parametrize(
    ("locked", "asked"),
    [
        ("node", [*PROJECT["dependencies"], *EXTRAS["validators"]]),
        ("operator", EXTRAS["operator"]),
        ("loadtests", EXTRAS["loadtests"]),
        ("loadtests-image", EXTRAS["loadtests"]),
        (
            "dev",
            [
                *PROJECT["dependencies"],
                *EXTRAS["operator"],
                *EXTRAS["loadtests"],
                *EXTRAS["validators"],
                *EXTRAS["dev"],
            ],
        ),
    ],
)
def test_a_locked_list_has_all_that_its_image_or_environment_asks_for(locked, asked):
    text = (ROOT / "requirements" / f"{locked}.txt").read_text()
    found = names(re.findall(r"^[A-Za-z0-9][^\s=]*(?===)", text, re.MULTILINE))
    assert names(asked) - {"peersdb"} <= found
