"""Profiles: which users run, and for how long.

``mixed`` has no shape: locust's own ``-u``, ``-r`` and ``-t`` say how many users run and how long.
``evaluation`` is one user who works through a list; its shape ends the run when the list is done.
"""

from typing import Any

import locust

from loadtests.options import EVALUATION, Options


class EvaluationShape(locust.LoadTestShape):  # type: ignore[misc]  # locust has no types
    """One user, until the evaluation has come to its end."""

    # Not found by locust as a class of the locustfile: it is chosen by the profile.
    abstract = True
    use_common_options = True

    def __init__(self, environment: Any) -> None:
        """Belong to a run's environment."""
        super().__init__()
        self._environment = environment
        self.runner = environment.runner

    def tick(self) -> tuple[int, float] | None:
        """How many users there should be; None ends the run."""
        run = getattr(self._environment, "peersdb", None)
        return None if run is not None and run.evaluated else (1, 1.0)


def choose(environment: Any, options: Options) -> None:
    """Leave the environment only the users of the profile, and set its shape."""
    classes = {user_class.__name__: user_class for user_class in environment.user_classes}
    if options.profile == EVALUATION:
        environment.user_classes = [user for name, user in classes.items() if name == "Evaluation"]
        environment.shape_class = EvaluationShape(environment)
        return
    classes.pop("Evaluation", None)
    newcomer = classes.get("Newcomer")
    if newcomer is not None:
        newcomer.fixed_count = options.newcomers
        if not options.newcomers:
            del classes["Newcomer"]
    environment.user_classes = [
        user for user in classes.values() if has_tasks(user, environment.parsed_options)
    ]


def has_tasks(user_class: Any, parsed: Any) -> bool:
    """Whether ``--tags`` and ``--exclude-tags`` leave a class anything to do; locust would spawn it in vain."""
    wanted, excluded = set(parsed.tags or ()), set(parsed.exclude_tags or ())
    tags: list[set[str]] = [getattr(task, "locust_tag_set", set()) for task in user_class.tasks]
    return any((not wanted or wanted & own) and not excluded & own for own in tags)
