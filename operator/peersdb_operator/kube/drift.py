"""Whether an object is what we want it to be: pure.

Server-side apply sets what we want and removes what we no longer want, but leaves what other managers added: a port
in a Service, a variable of a container. Their fields stand in ``managedFields``; those that we did not ask for are
found here, and made ours, so that the next apply removes them together with all else that it changes. (Taking them out
by themselves would be refused: a Service without a port, a variable with two values.)
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from peersdb_operator.kube.kinds import FIELD_MANAGER, Object
from peersdb_operator.rules import quantity

APPLIED_ANNOTATION = "peersdb.io/applied"
"""A hash of the object as it was applied: an object with another one was applied by another manifest."""
FOREIGN_FIELDS = "foreignFields"
"""The key of a cached object's metadata that has the fields other managers own, as FieldsV1."""

_OURS = ("spec", "data", "stringData", "type", "automountServiceAccountToken")
_RESTARTED = (
    "kubectl.kubernetes.io/restartedAt"  # `kubectl rollout restart`: a wish of a person's that is kept
)

Step = str | tuple[str, Any]
"""A step into an object: a field's name, or ("k", pairs of key and value) or ("v", value) into a list."""
FieldPath = tuple[Step, ...]


def stamped(obj: Object) -> Object:
    """Give the object with the hash of itself."""
    digest = hashlib.sha256(json.dumps(obj, sort_keys=True).encode()).hexdigest()[:16]
    annotations = {**obj["metadata"].get("annotations", {}), APPLIED_ANNOTATION: digest}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def stamp(obj: Object) -> str:
    """Give the hash that `stamped` put on an object; empty where there is none."""
    return str((obj["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION, ""))


def fingerprint(live: Object) -> str:
    """Give a hash of all of an object that only people and operators change."""
    metadata = live["metadata"]
    content = {field: value for field, value in live.items() if field not in ("status", "metadata")}
    content["metadata"] = {
        field: metadata.get(field) for field in ("labels", "annotations", "ownerReferences", FOREIGN_FIELDS)
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def differs(live: Object, wanted: Object) -> bool:
    """Tell whether a live object, as the cache has it, has to be applied again."""
    foreign = live["metadata"].get(FOREIGN_FIELDS, ())
    return not covers(live, wanted) or bool(extras(wanted, foreign)) or overruled(live, wanted, foreign)


def covers(live: Any, wanted: Any) -> bool:
    """Tell whether a live value has all that a wanted one has; the server may have added defaults."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            key in live and covers(live[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(covers(one, other) for one, other in zip(live, wanted, strict=True))
        )
    return bool(live == wanted) or _same_quantity(live, wanted)


def foreign_fields(managed: Iterable[Object]) -> list[Object]:
    """Give the FieldsV1 that managers other than ours own of an object, but for its status."""
    found = []
    for entry in managed:
        if not _is_foreign(entry):
            continue
        fields = {
            name: value
            for name, value in entry.get("fieldsV1", {}).items()
            if name.removeprefix("f:") in _OURS or name == "f:metadata"
        }
        if fields:
            found.append(fields)
    return found


def extras(wanted: Object, foreign: Sequence[Object]) -> list[FieldPath]:
    """List the fields of other managers that are not wanted.

    Of the metadata only labels count: other annotations, finalizers and owners are other programs' business.
    """
    found: set[FieldPath] = set()
    for fields in foreign:
        for path, _ in _leaves(fields, ()):
            if _RESTARTED in path or not _counts(path):
                continue
            short = _first_missing(wanted, path)
            if short is not None and len(short) > 1:
                found.add(short)
    return sorted(found, key=repr)


def overruled(live: Object, wanted: Object, foreign: Sequence[Object]) -> bool:
    """Tell whether another manager owns something as a whole that we want otherwise.

    A selector and the rules of a NetworkPolicy have no owners for their parts: what was added to them is seen by their
    value only.
    """
    return any(
        (value := _at(wanted, path)) is not None and _at(live, path) != value
        for fields in foreign
        for path, whole in _leaves(fields, ())
        if whole and _counts(path)
    )


def taken_over(wanted: Object, managed: Sequence[Object]) -> list[Object] | None:
    """Give the ``managedFields`` in which what others added and we do not want is ours; None if there is no such thing.

    Args:
        wanted: the object as it will be applied.
        managed: the live object's ``managedFields``.
    """
    paths = extras(wanted, foreign_fields(managed))
    if not paths:
        return None
    taken: Object = {}
    others: list[Object] = []
    ours: Object = {"manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": wanted["apiVersion"]}
    ours |= {"fieldsType": "FieldsV1", "fieldsV1": {}}
    for entry in copy.deepcopy(list(managed)):
        if (
            entry.get("manager") == FIELD_MANAGER
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
        ):
            ours = entry
            continue
        if _is_foreign(entry):
            for path in paths:
                _merge(taken, _cut(entry["fieldsV1"], path))
        if entry.get("fieldsV1"):
            others.append(entry)
    _merge(ours["fieldsV1"], taken)
    return [ours, *others]


def _is_foreign(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") != FIELD_MANAGER and entry.get("subresource") in (None, "", "scale")


def _cut(fields: Object, path: FieldPath) -> Object:
    """Take a path out of FieldsV1; gives it as FieldsV1 of its own."""
    for name in fields:
        if _step(name) == path[0]:
            if len(path) == 1:
                return {name: fields.pop(name)}
            inner = _cut(fields[name], path[1:])
            if not fields[name]:
                del fields[name]
            return {name: inner} if inner else {}
    return {}


def _merge(fields: Object, more: Object) -> None:
    for name, child in more.items():
        _merge(fields.setdefault(name, {}), child)


def _counts(path: FieldPath) -> bool:
    return path[0] != "metadata" or path[1:2] == ("labels",)


def _leaves(fields: Mapping[str, Any], path: FieldPath) -> Iterator[tuple[FieldPath, bool]]:
    """Give the paths of FieldsV1, each with whether all that is behind it is owned."""
    for name, child in fields.items():
        step = _step(name)
        if step is None:
            continue
        inner = (*path, step)
        if any(key != "." for key in child):
            yield from _leaves(child, inner)
        else:
            yield inner, not child


def _step(name: str) -> Step | None:
    kind, _, text = name.partition(":")
    if kind == "f":
        return text
    if kind == "k":
        return kind, tuple(sorted(json.loads(text).items()))
    if kind == "v":
        return kind, json.loads(text)
    return None  # ".", the thing itself, or by index: part of a list that is owned as a whole


def _first_missing(wanted: Any, path: FieldPath) -> FieldPath | None:
    """Give the shortest beginning of a path that the wanted object lacks; None if it has all of it."""
    value = wanted
    for index, step in enumerate(path):
        value = _enter(value, step)
        if value is None:
            return path[: index + 1]
    return None


def _at(value: Any, path: FieldPath) -> Any:
    for step in path:
        value = _enter(value, step)
    return value


def _enter(value: Any, step: Step) -> Any:
    if isinstance(step, str):
        return value.get(step) if isinstance(value, dict) else None
    kind, key = step
    if not isinstance(value, list):
        return None
    for item in value:
        if kind == "v" and item == key:
            return item
        if kind == "k" and isinstance(item, dict) and all(item.get(k) == v for k, v in key):
            return item
    return None


def _same_quantity(one: Any, other: Any) -> bool:
    """Tell whether two amounts are the same that the server writes in its own way (``0.5``, ``500m``)."""
    try:
        return _amount(one) == _amount(other)
    except ValueError:
        return False


def _amount(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("no quantity")  # noqa: TRY004 - as for a text that is none
    text = str(value)
    if text.endswith("m"):
        return quantity(text[:-1]) / 1000
    return quantity(text)
