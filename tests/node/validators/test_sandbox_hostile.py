"""Whatever a validator tries, it gets a verdict, and the next file is judged."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest
import trio
from judging import SMALL, plug_in

from peersdb.errors import SandboxUnavailable
from peersdb.validators.limits import MIB, Limits
from peersdb.validators.protection import NO_LANDLOCK, NO_SECCOMP
from peersdb.validators.readable import readable

LOCKED = {"landlock", "seccomp"}


async def judged(sandbox_in, file, check, **settings):
    """What becomes of a check, on a sandbox that goes on working with the same server."""
    async with sandbox_in(**settings) as sandbox:
        assert (await sandbox.run(plug_in("fine"), file)).reason == "what is to be judged"
        server = sandbox.pid
        judgement = await sandbox.run(check, file)
        assert (await sandbox.run(plug_in("fine"), file)).verdict == "valid"
        assert sandbox.pid == server
        assert psutil.Process(server).children(recursive=True) == []
        assert os.listdir(file.parent / "scratch") == []  # noqa: PTH208 - of a moment
    assert not psutil.pid_exists(server)
    return judgement


def runs(process):
    """Whether it still runs. In a container an orphan's exit status may be asked for by nobody."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def on(sandbox_in):
    """Skips where the kernel has not what a test is about, and says so."""

    async def check():
        async with sandbox_in() as sandbox:
            missing = [
                text for text in sandbox.protection if text.startswith("no ") and text.split()[1] in LOCKED
            ]
            if missing:
                pytest.skip("; ".join(missing))

    return check


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("loop", "processor time"),
        ("hang", "longer than 3 s"),
        ("close_answer_and_stay", "longer than 3 s"),
        ("eat", "needs more than 128 MiB of memory"),
        ("eat_mapped", "Cannot allocate memory"),
        ("huge_file", "File too large"),
        ("huge_files", "wrote more than 8 MiB"),
        ("many_files", "made more than 50 files"),
        ("print_much", "printed more than 65536 bytes"),
        ("answer_much", "answered more than 16384 bytes"),
        ("exit_silently", "no answer"),
        ("exit_by_exception", "SystemExit"),
        ("segfault", "crashed (signal 11)"),
        ("abort", "crashed (signal"),
        ("recursion", "RecursionError"),
    ],
)
async def test_a_validator_that_runs_away_is_ended_and_said_so(sandbox_in, file, function, reason):
    limits = replace(SMALL, wall=3) if "longer" in reason else SMALL
    judgement = await judged(sandbox_in, file, plug_in(function), limits=limits)
    assert judgement.verdict == "error"
    assert reason in judgement.reason
    assert judgement.seconds < SMALL.wall


@pytest.mark.parametrize("function", ["fork", "sockets", "trace", "memory_files", "limits"])
async def test_what_judging_does_not_need_is_refused(on, sandbox_in, file, function):
    await on()
    judgement = await judged(sandbox_in, file, plug_in(function))
    assert (judgement.verdict, judgement.reason[:8]) == ("valid", "refused:"), judgement.reason


async def test_nothing_is_written_outside_the_scratch_folder(on, sandbox_in, file, tmp_path):
    await on()
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_bytes(b"precious")
    before = (victim.stat(), outside.stat())
    judgement = await judged(sandbox_in, file, plug_in("write", outside=str(outside), victim=str(victim)))
    assert (judgement.verdict, judgement.reason) == ("valid", "refused: 21")
    assert victim.read_bytes() == b"precious"
    for now, then in zip((victim.stat(), outside.stat()), before, strict=True):
        assert (now.st_mode, now.st_mtime_ns, now.st_uid) == (then.st_mode, then.st_mtime_ns, then.st_uid)


async def test_the_scratch_folder_can_be_used_and_is_emptied(sandbox_in, file):
    judgement = await judged(sandbox_in, file, plug_in("scratch"))
    assert (judgement.verdict, judgement.reason) == ("valid", "notes ['notes']")


async def test_the_nodes_repo_is_not_read_even_among_pythons_modules(
    on, sandbox_in, file, tmp_path, monkeypatch
):
    await on()
    repo = tmp_path / "modules" / "repo"
    repo.mkdir(parents=True)
    key = repo / "identity"
    key.write_bytes(b"secret")
    (tmp_path / "modules" / "neighbour.py").write_text(
        "from peersdb.validators import valid\ndef check(file, options): return valid('imported')\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")
    check = plug_in("read", secrets=[str(key)], node=os.getpid())
    assert (await judged(sandbox_in, file, check, private=[repo])).reason == "refused: 8"
    neighbour = plug_in("check", "neighbour")
    assert (await judged(sandbox_in, file, neighbour, private=[repo])).reason == "imported"
    # The law is about `private`: without it the folder of modules would be open.
    assert str(key) in (await judged(sandbox_in, file, check)).reason


async def test_no_secret_of_the_environment_and_no_descriptor_comes_along(sandbox_in, file, monkeypatch):
    monkeypatch.setenv("PEERSDB_TOKEN", "secret")
    held = os.open(file, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        names, descriptors = json.loads((await judged(sandbox_in, file, plug_in("environment"))).reason)
    finally:
        os.close(held)
    assert "PEERSDB_TOKEN" not in names
    assert "HOME" not in names
    assert descriptors == [0, 1, 2, 3, 4]


async def test_neither_node_nor_fork_server_can_be_signalled(on, sandbox_in, file):
    await on()
    judgement = await judged(sandbox_in, file, plug_in("kill", node=os.getpid()))
    assert (judgement.verdict, judgement.reason) == ("valid", "refused: 9")


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"verdict": "valid"}',
        b'{"verdict": "great", "reason": ""}',
        b"[" * 9000,
        b"1" * 9000,
    ],
    ids=["nothing", "bytes", "list", "no reason", "no verdict", "nested", "number"],
)
async def test_an_answer_that_is_none_is_an_error(sandbox_in, file, garbage):
    judgement = await judged(sandbox_in, file, plug_in("answer_garbage", garbage=garbage.hex()))
    assert judgement.verdict == "error"
    assert "answer" in judgement.reason


@pytest.mark.parametrize("what", ["bool", "none", "verdict"])
async def test_what_is_no_finding_is_an_error(sandbox_in, file, what):
    judgement = await judged(sandbox_in, file, plug_in("answer_otherwise", what=what))
    assert judgement.verdict == "error"
    assert "Finding" in judgement.reason


async def test_what_it_prints_is_no_answer(sandbox_in, file):
    judgement = await judged(sandbox_in, file, plug_in("print_little"))
    assert (judgement.verdict, judgement.reason) == ("invalid", "answered")


async def test_a_reason_is_one_harmless_line(sandbox_in, file):
    text = "a\nb\x1b[2J\u202e" + "x" * 10_000
    reasons = [
        (await judged(sandbox_in, file, plug_in(function, text=text))).reason
        for function in ("reason", "unknown_error")
    ]
    for reason in reasons:
        assert len(reason) <= 300
        assert reason.isprintable()


async def test_workers_go_on_while_one_hangs(sandbox_in, file):
    async with sandbox_in(Limits(memory=128 * MIB), workers=2) as sandbox, trio.open_nursery() as nursery:
        nursery.start_soon(sandbox.run, plug_in("hang"), file)
        with trio.fail_after(30):  # it hangs for 60
            for _ in range(10):
                assert (await sandbox.run(plug_in("fine"), file)).verdict == "valid"
        nursery.cancel_scope.cancel()


async def test_who_gives_up_ends_the_child(sandbox_in, file):
    async with sandbox_in(Limits(memory=128 * MIB), workers=1) as sandbox:
        await sandbox.run(plug_in("fine"), file)
        with trio.move_on_after(0.5):
            await sandbox.run(plug_in("hang"), file)
        with trio.fail_after(30):
            assert (await sandbox.run(plug_in("fine"), file)).verdict == "valid"
            while psutil.Process(sandbox.pid).children():  # noqa: ASYNC110 - processes tell nobody
                await trio.sleep(0.02)


async def test_a_dead_fork_server_is_an_error_once_and_is_started_again(sandbox_in, file):
    async with sandbox_in(workers=2) as sandbox:
        await sandbox.run(plug_in("fine"), file)
        server = psutil.Process(sandbox.pid)
        judgements = []

        async def judge():
            judgements.append(await sandbox.run(plug_in("hang"), file))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(judge)
            while not (children := server.children()):  # noqa: ASYNC110
                await trio.sleep(0.02)
            server.kill()
        assert judgements[0].verdict == "error"
        assert "ended" in judgements[0].reason
        psutil.wait_procs(children, timeout=5)
        assert not any(map(runs, children))
        assert (await sandbox.run(plug_in("fine"), file)).verdict == "valid"
        assert sandbox.pid != server.pid


async def test_when_the_node_is_killed_nothing_is_left(tmp_path, file):
    script = """
import sys, trio
from pathlib import Path
from judging import plug_in
from peersdb.validators.sandbox import open_sandbox

async def main(file, scratch):
    async with open_sandbox(scratch=Path(scratch)) as sandbox:
        await sandbox.run(plug_in("fine"), file)
        print("server", sandbox.pid, flush=True)
        await sandbox.run(plug_in("hang"), file)

trio.run(main, *sys.argv[1:])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-c", script, file, tmp_path / "scratch"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as node:  # noqa: ASYNC220
        (pid,) = next(
            words[1:] for line in node.stdout if (words := line.split())[0] == "server"
        )  # the rest is log
        server = psutil.Process(int(pid))
        with trio.fail_after(20):
            while not (children := server.children()):  # noqa: ASYNC110
                await trio.sleep(0.02)
        node.kill()
    with trio.fail_after(20):
        while any(map(runs, [server, *children])):  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_without_work_the_fork_server_ends_and_comes_back(sandbox_in, file, monkeypatch):
    monkeypatch.setattr("peersdb.validators.sandbox.IDLE", 0.2)
    async with sandbox_in() as sandbox:
        await sandbox.run(plug_in("fine"), file)
        server = sandbox.pid
        with trio.fail_after(20):
            while sandbox.pid is not None:  # noqa: ASYNC110
                await trio.sleep(0.02)
        psutil.wait_procs([psutil.Process(server)] if psutil.pid_exists(server) else [], timeout=5)
        assert not psutil.pid_exists(server)
        assert (await sandbox.run(plug_in("fine"), file)).verdict == "valid"


BARE = """
from peersdb.validators import forkserver, protection
protection.find = lambda: protection.Protection(0, b"")
forkserver.main()
"""


@pytest.fixture
def bare(monkeypatch):
    """A kernel with neither Landlock nor seccomp."""
    monkeypatch.setattr("peersdb.validators.sandbox.COMMAND", (sys.executable, "-c", BARE))


async def test_what_is_missing_is_said_and_the_rest_holds(bare, sandbox_in, file):
    async with sandbox_in() as sandbox:
        assert (await sandbox.run(plug_in("fine"), file)).verdict == "valid"
        assert sandbox.protection[-2:] == (NO_LANDLOCK, NO_SECCOMP)
        for function in ("loop", "eat", "huge_file", "print_much"):
            assert (await sandbox.run(plug_in(function), file)).verdict == "error"


async def test_without_seccomp_what_a_validator_leaves_behind_is_ended(bare, sandbox_in, file):
    async with sandbox_in() as sandbox:
        await sandbox.run(plug_in("fine"), file)
        judgement = await sandbox.run(plug_in("leave_behind"), file)
        # A user's processes are limited, root's are not.
        assert judgement.reason == "left" or "Resource temporarily unavailable" in judgement.reason
        with trio.fail_after(20):
            while psutil.Process(sandbox.pid).children(recursive=True):  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert (await sandbox.run(plug_in("fine"), file)).verdict == "valid"


async def test_the_callers_own_error_is_raised_as_it_is(sandbox_in, file):
    with pytest.raises(KeyError):  # noqa: PT012 - the body is what is tested
        async with sandbox_in() as sandbox:
            await sandbox.run(plug_in("fine"), file)
            raise KeyError


def test_the_current_folder_is_no_folder_of_modules(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    assert {str(tmp_path), str(tmp_path / "lib")} <= set(readable([]))
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) not in readable([])
    assert str(tmp_path / "lib") in readable([])
    assert str(tmp_path / "lib") not in readable([tmp_path])


@pytest.mark.parametrize(
    "command", [("/no/such/program",), (sys.executable, "-c", "raise SystemExit(1)")], ids=["none", "ends"]
)
async def test_a_sandbox_that_cannot_start_says_nothing_of_the_file(monkeypatch, sandbox_in, file, command):
    monkeypatch.setattr("peersdb.validators.sandbox.COMMAND", command)
    async with sandbox_in() as sandbox:
        with pytest.raises(SandboxUnavailable):
            await sandbox.run(plug_in("fine"), file)
        monkeypatch.undo()
        assert (await sandbox.run(plug_in("fine"), file)).verdict == "valid"


async def test_nothing_runs_before_the_first_judgement(sandbox_in):
    before = psutil.Process().children()  # of other tests
    async with sandbox_in() as sandbox:
        assert sandbox.pid is None
        assert psutil.Process().children() == before


async def test_a_file_that_is_not_there_is_an_error(sandbox_in, tmp_path):
    async with sandbox_in() as sandbox:
        for path in (tmp_path / "none", tmp_path):
            judgement = await sandbox.run(plug_in("fine"), path)
            assert judgement.verdict == "error"
            assert "file" in judgement.reason
