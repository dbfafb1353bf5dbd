"""The validators of the rules, run in the sandbox, as the judge wants them."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from peersdb.errors import SettingsError
from peersdb.service.judging import AT_ONCE
from peersdb.settings import Settings
from peersdb.validators.api import File, Finding, OptionsError, one_line
from peersdb.validators.builtin import size
from peersdb.validators.rules import MAX_DOCUMENT, Check, Rules
from peersdb.validators.sandbox import Judgement, Sandbox, open_sandbox

#: The validator that needs no sandbox.
SIZE = "size"


class SandboxedValidators:
    """What the rules name.

    Attributes:
        hash: of the rules and of all that they name.
        protection: what holds a validator back on this machine.
    """

    def __init__(self, rules: Rules, sandbox: Sandbox) -> None:
        """Nothing runs yet."""
        self._rules, self._sandbox = rules, sandbox
        self.hash = rules.hash
        self.protection = sandbox.protection

    def checks_for(self, name: str, head: bytes) -> Sequence[Check]:
        """Those for a file of this name (or none) that begins so."""
        return self._rules.for_file(name, head)

    async def run(self, check: Check, file: Path) -> Judgement:
        """What one of them says of a file.

        Raises:
            SandboxUnavailable: it cannot be run now.
        """
        if check.builtin and check.name.partition("/")[0] == SIZE:
            return await trio.to_thread.run_sync(_judge_size, check, file)
        return await self._sandbox.run(check, file)


def _judge_size(check: Check, path: Path) -> Judgement:
    """What ``size`` says of a file, without a process of its own.

    It asks the file system and looks at no more of the content than the rules do to choose validators. It is asked of
    every file: a process for each would take most of what judging costs where many small ones arrive.
    """
    began = time.perf_counter()
    try:
        with path.open("rb") as content:
            length = os.fstat(content.fileno()).st_size
            file = File(content.fileno(), check.file_name, check.media_type, length, path.parent)
            found = size.check(file, check.options)
    except (OSError, OptionsError) as error:
        found = Finding("error", str(error))
    took = time.perf_counter() - began
    return Judgement(found.verdict, one_line(found.reason), took, check.name, check.hash)


def read_rules(settings: Settings) -> Rules:
    """The rules that this node was told, or the default ones.

    Raises:
        SettingsError: they cannot be read, or have faults.
    """
    if not settings.validators:
        return Rules.default()
    if settings.validators[0] in "[{":
        try:
            return Rules.read(settings.validators)
        except SettingsError as error:
            raise SettingsError(f"flag -validators: {error}") from error
    try:
        with settings.validators_path.open("rb") as file:
            text = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise SettingsError(
            f"flag -validators: cannot read {settings.validators}: {error.strerror}"
        ) from error
    try:
        return Rules.read(text)
    except SettingsError as error:
        raise SettingsError(f"flag -validators: {settings.validators}: {error}") from error


@asynccontextmanager
async def open_validators(rules: Rules, repo: Path) -> AsyncGenerator[SandboxedValidators, None]:
    """The validators of a node; nothing is started before the first judgement.

    Args:
        rules: which look at which file.
        repo: the node's directory, which none of them may read.
    """
    async with open_sandbox(scratch=repo / "sandbox", workers=AT_ONCE, private=[repo]) as sandbox:
        yield SandboxedValidators(rules, sandbox)
