"""The process that judges one file: forked, locked in, gone."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Never

from peersdb.validators import kernel
from peersdb.validators.api import File, Finding, OptionsError, one_line
from peersdb.validators.limits import MIB, Limits
from peersdb.validators.protection import Protection, lock_in, set_limits

FILE, ANSWER = 3, 4  # descriptors besides the standard three
_VERDICTS = frozenset(("valid", "invalid", "abstain"))


def become(
    job: Mapping[str, Any],
    *,
    parent: int,
    file: int,
    answer: int,
    output: int,
    scratch: str,
    read: tuple[str, ...],
    limits: Limits,
    protection: Protection,
) -> Never:
    """Makes this freshly forked process judge the file, and ends it.

    Args:
        job: ``target`` ("module:function"), ``options``, ``name`` and ``media_type`` of the file.
        parent: process id of the fork server.
        file: descriptor of the file.
        answer: where the finding goes to, as JSON.
        output: where the validator's prints go to.
        scratch: its folder.
        read: what it may read besides.
        limits: its limits.
        protection: what is to be put on.
    """
    code = 70  # EX_SOFTWARE: nothing was answered
    try:
        _take_descriptors(file, answer, output)
        _leave_the_server(parent)
        os.chdir(scratch)
        size = os.fstat(FILE).st_size
        try:
            set_limits(limits, size)
            lock_in(protection, read, scratch, FILE)
        except (OSError, ValueError) as error:
            _say("error", f"the sandbox could not be closed: {error}")
            os._exit(0)
        _say(*_judge(job, File(FILE, job["name"], job["media_type"], size, Path(scratch)), limits))
        code = 0
    finally:
        os._exit(code)  # whatever happened: the server's code is never returned to


def _take_descriptors(file: int, answer: int, output: int) -> None:
    """Only the standard ones, the file and the pipe of the answer are left open."""
    safe = [fcntl.fcntl(fd, fcntl.F_DUPFD, 16) for fd in (file, answer, output)]
    os.dup2(safe[0], FILE)
    os.dup2(safe[1], ANSWER)
    os.dup2(safe[2], 1)
    os.dup2(safe[2], 2)
    os.closerange(ANSWER + 1, 1 << 20)


def _leave_the_server(parent: int) -> None:
    os.setpgid(
        0, 0
    )  # what it forks can be ended with it; the session stays the server's, and its niceness too
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could have told us
        os._exit(70)
    os.umask(0o077)


def _judge(job: Mapping[str, Any], file: File, limits: Limits) -> tuple[str, str]:
    try:
        finding = load(job["target"])(file, job["options"])
    except MemoryError:
        return "error", f"needs more than {limits.memory // MIB} MiB of memory"
    except OptionsError as error:
        return "error", f"wrong options: {error}"
    except BaseException as error:  # noqa: BLE001 - also SystemExit and what is no Exception: it is a verdict
        return "error", f"{type(error).__name__}: {error} ({_place(error)})"
    if not isinstance(finding, Finding) or finding.verdict not in _VERDICTS:
        return "error", f"it answered {type(finding).__name__} in place of a Finding"
    return finding.verdict, str(finding.reason)


def load(target: str) -> Callable[[File, Mapping[str, Any]], Finding]:
    """The function that an entry point names.

    Raises:
        ImportError: no such module.
        AttributeError: no such function in it.
    """
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found  # type: ignore[no-any-return]


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"


def _say(verdict: str, reason: str) -> None:
    data = json.dumps({"verdict": verdict, "reason": one_line(reason)}).encode()
    os.write(ANSWER, data)  # shorter than what a pipe takes at once
