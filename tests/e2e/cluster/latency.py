"""Latency between regions: their packets take a way through a program that holds them back (go/delay).

It does what netem would, which not every kernel has.
"""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Mapping
from pathlib import Path

from cluster import golang
from cluster.commands import wait_for
from cluster.machine import Machine
from cluster.settings import Settings

DEVICE = "delay"
"""The interface that delayed packets go through."""

_SERVICE = "delay"
_TABLE, _PREFERENCE = 90, 90
#: The device is there within a tenth of a second.
START_TIMEOUT = 20.0
#: What a router's queue would hold: at a gigabit per second and 100 ms, 8000 packets are under way.
_QUEUE = 16384


class Latency:
    """The delays of one cluster."""

    def __init__(self, settings: Settings, control: Machine, binaries: Path) -> None:
        """Name the cluster; nothing is changed yet."""
        self._settings = settings
        self._control = control
        self._program = binaries / golang.file_name("delay")

    def set(self, lines: Mapping[tuple[str, str], float], *, jitter: float = 0.0) -> None:
        """Delay packets between regions, both ways; what was set before ends.

        Args:
            lines: milliseconds one way, by pair of regions: a round trip takes twice as long.
            jitter: by so many milliseconds, up or down, single packets differ.
        """
        self.clear()
        rules = self._control.directory / "delay.json"
        rules.write_text(json.dumps(self._rules(lines, jitter)))
        self._control.spawn(_SERVICE, [str(self._program), DEVICE, str(rules)])
        wait_for(self._has_device, "the device for delayed packets", START_TIMEOUT)
        self._ip(
            f"link set {DEVICE} up txqueuelen {_QUEUE}",
            f"route replace default dev {DEVICE} table {_TABLE}",
            *(
                f"rule add preference {_PREFERENCE} iif {self._settings.interface(source)} to {place}"
                f" lookup {_TABLE}"
                for one, other in lines
                for source, target in ((one, other), (other, one))
                for place in self._settings.addresses.place(self._settings.index(target))
            ),
        )

    def clear(self) -> None:
        """Delay nothing any more."""
        rules = self._control.in_network("ip", "rule", "list", "preference", str(_PREFERENCE))
        self._ip(*itertools.repeat(f"rule delete preference {_PREFERENCE}", len(rules.splitlines())))
        # Its device and routes go with it.
        self._control.stop(_SERVICE, signal.SIGKILL)

    def _rules(self, lines: Mapping[tuple[str, str], float], jitter: float) -> dict[str, object]:
        ways = [
            {"from": source, "to": target, "milliseconds": delay, "jitter": jitter}
            for (one, other), delay in lines.items()
            for source, target in ((one, other), (other, one))
        ]
        settings = self._settings
        places = {region: settings.addresses.place(settings.index(region)) for region in settings.regions}
        return {"places": places, "lines": ways}

    def _has_device(self) -> bool:
        return f'"{DEVICE}"' in self._control.in_network("ip", "-json", "link", "show")

    def _ip(self, *commands: str) -> None:
        self._control.in_network("ip", "-batch", "-", stdin="\n".join(commands))
