"""The example of the documentation, installed as a user does, and how plug-ins are found and hashed."""

import importlib
import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from peersdb.core.quorum import verdict_of
from peersdb.errors import SettingsError
from peersdb.validators import registry
from peersdb.validators.limits import MIB, Limits
from peersdb.validators.rules import Rules

EXAMPLE = Path(__file__).parents[3] / "docs/examples/lines-validator"
PAGE = (Path(__file__).parents[3] / "docs/validators.md").read_text()
RULES = [
    {"pattern": "*.txt", "validators": ["size", {"name": "lines", "options": {"forbidden": ["secret"]}}]}
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    place = tmp_path_factory.mktemp("installed")
    source = place / "source"  # pip leaves its traces beside the source
    shutil.copytree(EXAMPLE, source)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
    ]
    subprocess.run([*pip, "--no-cache-dir", "--target", place / "target", source], check=True)
    return place / "target"


@pytest.fixture
def on_path(installed, monkeypatch):
    monkeypatch.syspath_prepend(installed)
    importlib.invalidate_caches()


async def test_the_example_judges_files_in_the_sandbox(on_path, sandbox_in, tmp_path):
    rules = Rules.read(json.dumps(RULES))
    cases = {
        "a line\nand another\n": ("valid", "2 lines"),
        "a line\nwith a secret\n": ("invalid", "line 2 has 'secret'"),
        "x" * 1001: ("invalid", "line 1 is longer than 1000 bytes"),
        "\0": ("abstain", "it is no text"),
    }
    path = tmp_path / "note.txt"
    async with sandbox_in() as sandbox:
        for text, (verdict, reason) in cases.items():
            path.write_text(text)
            checks = rules.for_file(path.name, text.encode())
            judgements = [await sandbox.run(check, path) for check in checks]
            assert [item.validator for item in judgements] == ["size/1", "lines/1.0.0"]
            assert (judgements[1].verdict, judgements[1].reason) == (verdict, reason)
            assert verdict_of(item.verdict for item in judgements) == (
                "valid" if verdict == "abstain" else verdict
            )


async def test_a_plug_ins_wrong_options_are_told_in_its_verdict(on_path, sandbox_in, file):
    rules = Rules.parse([{"pattern": "*", "validators": [{"name": "lines", "options": {"max_length": 0}}]}])
    (check,) = rules.for_file("a", b"a")
    async with sandbox_in() as sandbox:
        judgement = await sandbox.run(check, file)
    assert judgement.verdict == "error"
    assert judgement.reason == "wrong options: max_length is 0, not a whole number above 0"


def test_nothing_of_a_plug_in_is_imported_to_find_it(on_path):
    assert registry.find("lines").label == "lines/1.0.0"
    assert "lines_validator" not in sys.modules


def test_a_hash_is_of_source_version_and_options(on_path, installed, monkeypatch, tmp_path):
    known = registry.find("lines")
    first = known.hash({"a": 1, "b": 2})
    assert len(first) == 32
    assert first == known.hash({"b": 2, "a": 1})
    assert first != known.hash({"a": 1, "b": 3})
    (installed / "lines_validator" / "__pycache__").mkdir(exist_ok=True)
    (installed / "lines_validator" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert registry.find("lines").hash({"a": 1, "b": 2}) == first
    shutil.copytree(installed, tmp_path / "changed")
    with (tmp_path / "changed/lines_validator/__init__.py").open("a") as source:
        source.write("# changed\n")
    monkeypatch.syspath_prepend(tmp_path / "changed")
    assert registry.find("lines").hash({"a": 1, "b": 2}) != first
    shutil.copytree(installed, tmp_path / "moved" / "elsewhere")
    monkeypatch.syspath_prepend(tmp_path / "moved" / "elsewhere")
    assert registry.find("lines").hash({"a": 1, "b": 2}) == first


def test_an_unknown_name_lists_the_known_ones(on_path):
    with pytest.raises(
        SettingsError, match=r"rules\[0\].validators\[0\].name: .*'nosuch'; there are archive, .*lines"
    ):
        Rules.parse([{"pattern": "*", "validators": ["nosuch"]}])


def plug_in(place, name, value, version="1", source="def check(file, options): ..."):
    (place / f"{name}_package.py").write_text(source)
    info = place / f"{name}_package-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-package\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[peersdb.validators]\n{name} = {value}\n")


def test_what_is_installed_and_cannot_be_used_says_why(tmp_path, monkeypatch):
    plug_in(tmp_path, "gone", "no_such_module:check")
    plug_in(tmp_path, "module", "module_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match="no_such_module is not installed"):
        registry.find("gone")
    with pytest.raises(SettingsError, match="module:function"):
        registry.find("module")


def test_no_plug_in_takes_the_name_of_a_built_in(tmp_path, monkeypatch):
    plug_in(tmp_path, "csv", "csv_package:check")
    monkeypatch.syspath_prepend(tmp_path)
    assert "csv_package" in {
        point.value.partition(":")[0] for point in metadata.entry_points(group=registry.GROUP)
    }
    assert registry.find("csv").builtin


async def test_a_plug_in_that_fails_on_import_is_an_error(tmp_path, monkeypatch, sandbox_in, file):
    plug_in(tmp_path, "broken", "broken_package:check", source="raise ValueError('at import')")
    monkeypatch.syspath_prepend(tmp_path)
    (check,) = Rules.parse([{"pattern": "*", "validators": ["broken"]}]).for_file("", b"")
    async with sandbox_in() as sandbox:
        judgement = await sandbox.run(check, file)
    assert (judgement.verdict, "at import" in judgement.reason) == ("error", True)


def test_data_in_a_plug_in_has_a_limit(tmp_path, monkeypatch):
    plug_in(tmp_path, "large", "large_package:check")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.find("large") is not None
    monkeypatch.setattr(registry, "MAX_SOURCE", 3)
    with pytest.raises(SettingsError, match="keep data out of it"):
        registry.find("large")


def test_the_page_shows_the_example_as_it_is_and_rules_that_are_read(on_path):
    for name in ("pyproject.toml", "src/lines_validator/__init__.py"):
        assert (EXAMPLE / name).read_text().strip() in PAGE
    documents = [part.partition("```")[0] for part in PAGE.split("```json\n")[1:]]
    assert [len(Rules.read(text).for_file("a.txt", b"")) for text in documents] == [1, 2]
    assert json.loads(documents[1]) == RULES


def test_the_page_names_every_built_in_with_every_option():
    for name in registry.BUILTIN:
        known = registry.find(name)
        module = importlib.import_module(known.target.partition(":")[0])
        (row,) = [
            line for line in PAGE.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]
        ]
        assert [option for option in module.OPTIONS if f"`{option}`" not in row] == []


def test_the_pages_limits_are_the_sandboxs():
    assert Limits() == Limits(
        wall=60,
        cpu=30,
        memory=512 * MIB,
        open_files=32,
        file_size=64 * MIB,
        written=256 * MIB,
        scratch_files=1000,
        output=MIB,
        answer=16 * 1024,
    )
