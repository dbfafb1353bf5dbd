"""What has to change: desired against observed, as pure functions.

A member's *template* is all that its process was started with and that the manifest decides; a member is
restarted when, and only when, its template differs. The store's address is no part of it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Template = TypeVar("Template", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Plan:
    """The difference, each list in order of names.

    Attributes:
        start: should run and do not.
        stop: run and should not.
        restart: run, but by another template.
        keep: run as they should.
    """

    start: tuple[str, ...]
    stop: tuple[str, ...]
    restart: tuple[str, ...]
    keep: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.start or self.stop or self.restart)


def diff(desired: Mapping[str, Template], observed: Mapping[str, Template]) -> Plan:
    """Compare the templates of the members that should run with those of the members that do."""
    both = sorted(desired.keys() & observed.keys())
    return Plan(
        start=tuple(sorted(desired.keys() - observed.keys())),
        stop=tuple(sorted(observed.keys() - desired.keys())),
        restart=tuple(name for name in both if desired[name] != observed[name]),
        keep=tuple(name for name in both if desired[name] == observed[name]),
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How a member stands, as far as the order of starts goes.

    Attributes:
        is_root: whether it is a root.
        known: whether it was ever started: it then knows others and needs no root.
        ready: whether it is ready now.
        failing: whether it crashed and waits for its next try, so that nobody should wait for it.
    """

    is_root: bool
    known: bool
    ready: bool
    failing: bool


def held_back(standings: Mapping[str, Standing], first_root: str, *, store_known: bool) -> dict[str, str]:
    """Say which members may not be started yet, and why.

    The first root makes the store; the other roots and all peers join it. A new peer waits for the roots, but
    not for one that keeps failing while another is ready; one that ran before waits for nobody, or no member
    would come back while the roots are down.

    Args:
        standings: all members that should run.
        first_root: the name of the root that makes the store.
        store_known: whether a root has told the store's address.
    """
    roots = {name: standing for name, standing in standings.items() if standing.is_root}
    unready = sorted(name for name, root in roots.items() if not root.ready)
    waited_for = [name for name in unready if not roots[name].failing]
    some_ready = len(unready) < len(roots)
    held: dict[str, str] = {}
    for name, standing in standings.items():
        if standing.known:
            continue
        if standing.is_root:
            if name != first_root and not store_known:
                held[name] = f"waits for {first_root}"
        elif not store_known or waited_for or not some_ready:
            held[name] = f"waits for {', '.join(waited_for or unready or [first_root])}"
    return held


def next_restart(outdated: Collection[str], standings: Mapping[str, Standing]) -> tuple[str, ...]:
    """Choose which outdated members to restart now: the roots one after another, then all peers at once.

    A root is restarted only while every other root is ready; with but one root there is nobody to wait for.
    """
    roots = sorted(name for name in outdated if standings[name].is_root)
    if not roots:
        others_ready = all(
            standing.ready or standing.failing for standing in standings.values() if standing.is_root
        )
        return tuple(sorted(outdated)) if others_ready else ()
    # One that is down anyway goes first: restarting it takes nothing away.
    roots.sort(key=lambda name: (standings[name].ready, name))
    chosen = roots[0]
    others = (standing for name, standing in standings.items() if standing.is_root and name != chosen)
    return (chosen,) if all(standing.ready or standing.failing for standing in others) else ()
