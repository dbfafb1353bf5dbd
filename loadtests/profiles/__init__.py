"""Profiles: which users run, in which shape.

What belongs here: user classes, one module per theme, and shapes. A profile is a line of the table below;
docs/loadtests.md says whom each is for.
"""

from dataclasses import dataclass
from typing import Any

from loadtests.board import Board
from loadtests.errors import OptionsError
from loadtests.options import Options
from loadtests.profiles.bootstrap import Waves
from loadtests.profiles.burst import Burst
from loadtests.profiles.contributing import Contributor, LargeContributor
from loadtests.profiles.evaluation import Evaluation
from loadtests.profiles.joining import Newcomer
from loadtests.profiles.original import Once
from loadtests.profiles.reading import LargeReader, Reader
from loadtests.profiles.shape import Script
from loadtests.profiles.validating import Validator


@dataclass(frozen=True)
class Profile:
    """What is run."""

    users: dict[type, int]
    """Classes and their shares of the users; 0: a number of their own."""

    shape: type[Script] = Script
    share_of_rate: float = 1.0
    """Of ``--rate``."""


PROFILES = {
    "mixed": Profile({Contributor: 2, Reader: 4, Validator: 1, Newcomer: 0}),
    "evaluation": Profile({Evaluation: 0}, Once),
    "bootstrap": Profile({Contributor: 1}, Waves),
    "contribution": Profile({Contributor: 1}),
    "steady": Profile({Contributor: 1, Reader: 2}),
    "burst": Profile({Contributor: 1, Reader: 2}, Burst),
    "readers": Profile({Contributor: 1, Reader: 19}),
    "large-files": Profile({LargeContributor: 1, LargeReader: 1}, share_of_rate=0.1),
    "churn": Profile({Contributor: 1, Reader: 1}),
    "partition": Profile({Contributor: 1, Reader: 1}),
    "soak": Profile({Contributor: 1, Reader: 2}, share_of_rate=0.25),
}


def prepare(profile: str) -> None:
    """Let the classes of a profile know their rate; in every process that makes load."""
    chosen = PROFILES[profile]
    for user in chosen.users:
        user.share_of_rate = chosen.share_of_rate  # type: ignore[attr-defined]


def choose(environment: Any, options: Options, board: Board) -> None:
    """Leave the environment only the users of the profile, and set its shape.

    Raises:
        OptionsError: the classes or tags that were asked for leave nothing of it.
    """
    chosen = PROFILES[options.profile]
    users = []
    for user, weight in chosen.users.items():
        if user not in environment.user_classes or not has_tasks(user, environment.parsed_options):
            continue
        if user is Newcomer:
            user.fixed_count = options.newcomers
            if not options.newcomers:
                continue
        if weight:
            user.weight = weight  # type: ignore[attr-defined]
        users.append(user)
    if not users:
        raise OptionsError(f"the profile {options.profile} has no users of these classes or tags")
    environment.user_classes = users
    single = len(options.cells) * options.repeats == 1
    if environment.parsed_options.headless or options.profile != "mixed" or not single:
        environment.shape_class = chosen.shape(environment, board)


def has_tasks(user_class: Any, parsed: Any) -> bool:
    """Whether ``--tags`` and ``--exclude-tags`` leave a class anything to do; locust would spawn it in vain."""
    wanted, excluded = set(parsed.tags or ()), set(parsed.exclude_tags or ())
    tags: list[set[str]] = [getattr(task, "locust_tag_set", set()) for task in user_class.tasks]
    return any((not wanted or wanted & own) and not excluded & own for own in tags)
