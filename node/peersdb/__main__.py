"""The program ``peersdb``: reads settings, runs the node, ends on a signal; or is the node's client."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NoReturn

from peersdb.client import COMMANDS
from peersdb.errors import PeersDBError, SettingsError

if TYPE_CHECKING:
    import structlog
    import trio

    from peersdb.settings import Settings


def main() -> None:
    """Runs ``peersdb``; exits 0 after a signal or ``exit``, 1 on failure, 2 on a wrong flag.

    With a client's command it runs that instead; docs/client.md has its exit statuses.
    """
    if sys.argv[1:] and sys.argv[1] in COMMANDS:
        sys.exit(_client())
    _node()


def _client() -> int:
    # Before anything that only a node needs is imported: a command of the client answers at once.
    try:
        from peersdb.client.main import main as client  # noqa: PLC0415

        return client(sys.argv[1:], os.environ)
    except KeyboardInterrupt:  # while it was still importing
        return 130


def _node() -> None:
    import trio  # noqa: PLC0415 - see _client

    from peersdb.settings import HelpRequested, from_process  # noqa: PLC0415
    from peersdb.tasks import first_of  # noqa: PLC0415

    try:
        settings = from_process()
    except HelpRequested as text:
        sys.stdout.write(f"{text}\n")
        sys.exit(0)
    except SettingsError as error:
        _fail(error, 2)
    _configure_logs(settings)
    failed: BaseException | None = None
    try:
        trio.run(_run, settings)
    except* PeersDBError as group:  # before Python 3.11.4 an exit from here would be put into a group itself
        failed = first_of(group)
    if failed is not None:
        _fail(failed, 2 if isinstance(failed, SettingsError) else 1)


async def _run(settings: Settings) -> None:
    # What a node needs is imported after its flags are known to be right: a wrong flag answers at once.
    import logging  # noqa: PLC0415
    import signal  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    import structlog  # noqa: PLC0415
    import trio  # noqa: PLC0415

    from peersdb import __version__  # noqa: PLC0415
    from peersdb.net.later import load_later  # noqa: PLC0415

    load_later()
    from peersdb.api.run import serve  # noqa: PLC0415
    from peersdb.service.environment import Environment  # noqa: PLC0415
    from peersdb.service.node import Node  # noqa: PLC0415

    log = structlog.get_logger("node")
    # libp2p logs what remotes do as errors; what matters of it reaches this log by way of net/. It sets its own
    # level when it is imported, so this comes after.
    logging.getLogger("libp2p").setLevel(logging.DEBUG if settings.devlogs else logging.CRITICAL)
    log.debug("settings", version=__version__, **asdict(settings))
    stop, serving = trio.Event(), False

    async def watch(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            # The first signal lets requests finish. Where none can run yet, or at the second, all ends at once.
            if stop.is_set() or not serving:
                scope.cancel()
            stop.set()

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, signals, nursery.cancel_scope)
            async with Node.run(settings, Environment(), os.urandom, __version__) as node:
                serving = True
                await serve(node, stop)
            nursery.cancel_scope.cancel()


def _configure_logs(settings: Settings) -> None:
    import logging  # noqa: PLC0415

    import structlog  # noqa: PLC0415

    level = logging.DEBUG if settings.devlogs else logging.INFO
    render: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def _fail(error: BaseException, status: int) -> NoReturn:
    sys.stderr.write(f"peersdb: {error}\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
