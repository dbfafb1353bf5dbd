"""A sandbox, and a file to judge."""

from contextlib import asynccontextmanager

import pytest
from judging import SMALL

from peersdb.validators.sandbox import open_sandbox


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "judged.txt"
    path.write_bytes(b"what is to be judged")
    return path


@pytest.fixture
def sandbox_in(tmp_path):
    @asynccontextmanager
    async def opened(limits=SMALL, **settings):
        async with open_sandbox(limits, scratch=tmp_path / "scratch", **settings) as sandbox:
            yield sandbox

    return opened
