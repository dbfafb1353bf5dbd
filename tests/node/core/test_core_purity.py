"""The core is pure: what it may import and name is a short list."""

import ast
from pathlib import Path

import pytest

import peersdb.core

ALLOWED = {
    "builtins",
    "collections",
    "dataclasses",
    "datetime",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "libipld",
    "nacl",
    "peersdb",
    "re",
    "types",
    "typing",
}
FILES = sorted(Path(peersdb.core.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_core_module_imports_only_what_has_no_effects(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert {name.split(".")[0] for name in imported} <= ALLOWED
    inner = {name for name in imported if name.startswith("peersdb")}
    assert all(name.startswith(("peersdb.core", "peersdb.errors")) for name in inner)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_core_module_never_reads_the_clock_or_makes_keys(path):
    banned = {"now", "utcnow", "today", "generate", "urandom", "open", "print", "input"}
    named = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Attribute, ast.Name))
    }
    assert not named & banned
