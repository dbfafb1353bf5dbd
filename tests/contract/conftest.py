"""Fixtures of the contract tests."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract_nodes import Node, Nodes, nodes_in

_live: list[Nodes] = []


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Makes nodes for one test."""
    with nodes_in(tmp_path) as made:
        _live.append(made)
        try:
            yield made
        finally:
            _live.remove(made)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """A root and two peers, one of them a full replica, for tests that only add to the log."""
    with nodes_in(tmp_path_factory.mktemp("cluster")) as made:
        _live.append(made)
        root = made.start("root", "-root=true", "-benchmark", "-region", "eu")
        joining = ("-bootstrap", f"127.0.0.1:{root.http_port}", "-benchmark", "-region")
        peers = [made.start("peer", *joining, "us"), made.start("replica", *joining, "asia", "-full-replica")]
        for node in (root, *peers):
            node.wait_ready()
        try:
            yield [root, *peers]
        finally:
            _live.remove(made)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its nodes logged."""
    report = yield
    if report.failed:
        report.sections += [
            (f"log of {node.name}", node.log(3000))
            for made in _live
            for node in made.all
            if node.log_file.exists()
        ]
    return report
