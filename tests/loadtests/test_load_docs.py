"""The document says what there is."""

import re
from pathlib import Path

import configargparse

from loadtests import results, samples
from loadtests.arguments import PROFILES, add_arguments
from loadtests.benchmarks import CSV_FILE, JSON_FILE
from loadtests.report.__main__ import PAGE_FILE, SUMMARY_FILE

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "loadtests.md").read_text()


def rows():
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in TEXT.splitlines()
        if "|" in line
    ]


def test_every_option_is_in_the_table_with_its_variable_and_default():
    parser = configargparse.ArgumentParser()
    add_arguments(parser)
    table = {re.match(r"`(--[\w-]+)", row[0]).group(1): row for row in rows() if row[0].startswith("`--")}
    declared = {action.option_strings[-1]: action for action in parser._actions if action.dest != "help"}
    assert set(table) == set(declared) | {"--profile"}
    for name, action in declared.items():
        _, variable, meaning = table[name]
        assert variable == f"`{action.env_var}`"
        if isinstance(action.default, float | int) and action.default:
            assert f"Default: {action.default:g}" in meaning


def test_every_profile_and_every_file_is_described():
    for profile in PROFILES:
        assert f"**{profile}**" in TEXT
    files = (
        PAGE_FILE,
        SUMMARY_FILE,
        results.RUN_FILE,
        samples.SAMPLES_FILE,
        samples.NODES_FILE,
        JSON_FILE,
        CSV_FILE,
    )
    for name in files:
        assert f"`{name}`" in TEXT
    assert f"`{', '.join(samples.SAMPLE_COLUMNS)}`" in TEXT
    assert f"`{', '.join(samples.NODE_COLUMNS)}`" in TEXT
