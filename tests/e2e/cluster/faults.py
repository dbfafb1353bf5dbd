"""Faults by hand: ``python -m cluster fault``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from cluster.commands import say
from cluster.harness import Harness
from cluster.settings import Settings

Fault = Callable[[Harness, argparse.Namespace], None]


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add a command for each fault to a parser."""
    commands = parser.add_subparsers(metavar="FAULT", required=True)

    def add(name: str, text: str, act: Fault, *regions: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        for region in regions:
            command.add_argument(region, metavar=region.upper(), help="a region")
        command.set_defaults(run=lambda options: _make(options, act))
        return command

    add("cut", "nothing passes between two regions", lambda h, o: h.partition.cut(o.a, o.b), "a", "b")
    add("one-way", "what A sends to B is lost", lambda h, o: h.partition.one_way(o.a, o.b), "a", "b")
    loss = add("loss", "so many of a hundred packets are lost", _loss, "a", "b")
    loss.add_argument("percent", type=int, metavar="PERCENT")
    add("isolate", "nothing passes to or from a region", lambda h, o: h.partition.isolate(o.a), "a")
    latency = add("latency", "packets between two regions take longer, each way", _latency, "a", "b")
    latency.add_argument("milliseconds", type=float, metavar="MS")
    add("stop-kubelet", "a region's kubelet stops", lambda h, o: h.node(o.a).stop_kubelet(), "a")
    add("power-off", "a region's node loses its power", lambda h, o: h.node(o.a).power_off(), "a")
    add("restart-apiserver", "the API server is stopped and started", _restart_apiserver)
    add("heal", "all faults end, and all nodes run", lambda h, _: h.heal())


def _make(options: argparse.Namespace, act: Fault) -> int:
    harness = Harness.attach(Settings.from_environment().state)
    act(harness, options)
    for name, packets in harness.partition.dropped().items():
        say(f"{name}: {packets} packets dropped so far")
    return 0


def _loss(harness: Harness, options: argparse.Namespace) -> None:
    harness.partition.loss(options.a, options.b, options.percent)


def _latency(harness: Harness, options: argparse.Namespace) -> None:
    harness.latency.set({(options.a, options.b): options.milliseconds})


def _restart_apiserver(harness: Harness, _options: argparse.Namespace) -> None:
    harness.control.stop_apiserver()
    harness.control.start_apiserver()
