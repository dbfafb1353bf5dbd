"""Which validators look at which file: read once, at the start, and every fault told with its place."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from peersdb.errors import SettingsError
from peersdb.validators import registry
from peersdb.validators.builtin.options import faults_of
from peersdb.validators.media import media_type

MAX_DOCUMENT = 256 * 1024  # bytes; it comes from a manifest
MAX_RULES = 100
MAX_VALIDATORS = 16  # of a rule; each is a process of its own for each file
#: Bytes of one validator's options as JSON: they go to the fork server in one packet.
MAX_OPTIONS = 32 * 1024
#: Bytes of a file's start that its media type is guessed from.
HEAD = 8 * 1024
_DOMAIN = b"peersdb-checks-v1:"

DEFAULT: list[dict[str, Any]] = [
    {"pattern": "*", "validators": ["size"]},
    {"pattern": ["text/csv", "text/tab-separated-values"], "validators": ["csv"]},
    {"pattern": ["application/json", "application/geo+json", "application/x-ndjson"], "validators": ["json"]},
    {"pattern": "application/vnd.apache.parquet", "validators": ["parquet"]},
    {"pattern": "application/vnd.apache.arrow.*", "validators": ["arrow"]},
    {
        "pattern": [
            "application/zip",
            "application/x-tar",
            "application/gzip",
            "application/x-bzip2",
            "application/x-xz",
        ],
        "validators": ["archive"],
    },
]


@dataclass(frozen=True, slots=True)
class Check:
    """One validator with its options, for one file.

    Attributes:
        name: of the validator with its version, as in votes (``csv/1``).
        hash: 32 bytes, of all that decides its verdict.
        target: its function.
        builtin: whether it is the project's own.
        options: as in the rules.
        file_name: of the file to judge, or empty.
        media_type: of the file to judge.
    """

    name: str
    hash: bytes
    target: str
    builtin: bool
    options: Mapping[str, Any]
    file_name: str = ""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    patterns: tuple[str, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """What `parse` read."""

    _rules: tuple[_Rule, ...] = field(repr=False)

    @classmethod
    def default(cls) -> Rules:
        """What holds when nothing is said: size on everything, and form by the kind of file."""
        return cls.parse(DEFAULT)

    @classmethod
    def read(cls, text: str | bytes) -> Rules:
        """Reads a JSON document.

        Raises:
            SettingsError: a fault, with its place.
        """
        if len(text) > MAX_DOCUMENT:
            raise SettingsError(f"the validation rules are larger than {MAX_DOCUMENT // 1024} KiB")
        try:
            return cls.parse(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"the validation rules are no JSON: {error}") from error

    @classmethod
    def parse(cls, document: Any) -> Rules:
        """Reads a list of ``{"pattern", "validators"}``, or ``{"rules": [...]}`` with it.

        Raises:
            SettingsError: every fault, each with its place.
        """
        faults: list[str] = []
        if isinstance(document, Mapping) and set(document) == {"rules"}:
            document = document["rules"]
        rules = [
            _rule(item, f"rules[{at}]", faults) for at, item in _items(document, "rules", MAX_RULES, faults)
        ]
        if faults:
            raise SettingsError("validation " + "; ".join(faults))
        return cls(tuple(rules))

    @property
    def hash(self) -> bytes:
        """Of the patterns and of all that they choose, 32 bytes: another hash, and files are judged anew."""
        parts = [
            json.dumps(rule.patterns).encode() + b"".join(check.hash for check in rule.checks)
            for rule in self._rules
        ]
        return hashlib.sha256(_DOMAIN + b"\0".join(parts)).digest()

    def for_file(self, name: str, head: bytes) -> list[Check]:
        """The checks of a file, in the order of the rules.

        All rules that fit apply; where two name the same validator, the later one's options hold.

        Args:
            name: the contribution's file name or path, or empty.
            head: its first `HEAD` bytes.
        """
        kind = media_type(name, head)
        texts = {name.lower(), name.rpartition("/")[2].lower(), kind}
        chosen: dict[str, Check] = {}
        for rule in self._rules:
            if any(fnmatchcase(text, pattern) for text in texts for pattern in rule.patterns):
                for check in rule.checks:
                    chosen[check.name] = check
        return [
            Check(check.name, check.hash, check.target, check.builtin, check.options, name, kind)
            for check in chosen.values()
        ]


def _items(value: Any, place: str, most: int, faults: list[str]) -> list[tuple[int, Any]]:
    if not isinstance(value, list):
        faults.append(f"{place}: is {type(value).__name__}, not a list")
        return []
    if len(value) > most:
        faults.append(f"{place}: has {len(value)} items, {most} are allowed")
        return []
    return list(enumerate(value))


def _rule(value: Any, place: str, faults: list[str]) -> _Rule:
    if not _has_keys(value, place, {"pattern", "validators"}, {"pattern", "validators"}, faults):
        return _Rule((), ())
    patterns = [value["pattern"]] if isinstance(value["pattern"], str) else value["pattern"]
    if (
        not isinstance(patterns, list)
        or not patterns
        or not all(isinstance(one, str) and one for one in patterns)
    ):
        faults.append(f"{place}.pattern: is no text (like *.csv, logs/* or text/csv) nor a list of them")
        patterns = []
    items = _items(value["validators"], f"{place}.validators", MAX_VALIDATORS, faults)
    checks = [_check(item, f"{place}.validators[{at}]", faults) for at, item in items]
    return _Rule(
        tuple(one.lower() for one in patterns), tuple(check for check in checks if check is not None)
    )


def _check(value: Any, place: str, faults: list[str]) -> Check | None:
    if isinstance(value, str):
        value = {"name": value}
    if not _has_keys(value, place, {"name"}, {"name", "options"}, faults):
        return None
    name, options = value["name"], value.get("options", {})
    try:
        known = registry.find(name) if isinstance(name, str) else None
    except SettingsError as error:
        faults.append(f"{place}.name: {error}")
        return None
    if known is None:
        faults.append(
            f"{place}.name: there is no validator {name!r}; there are {', '.join(registry.names())}"
        )
        return None
    wrong = _faults_of_options(options, known)
    faults += [f"{place}.options{fault}" for fault in wrong]
    return None if wrong else Check(known.label, known.hash(options), known.target, known.builtin, options)


def _faults_of_options(options: Any, known: registry.Known) -> list[str]:
    if not isinstance(options, Mapping):
        return [f": is {type(options).__name__}, not a mapping"]
    try:
        size = len(registry.canonical(options))
    except (ValueError, TypeError, RecursionError) as error:
        return [f": cannot be written as JSON: {error}"]
    if size > MAX_OPTIONS:
        return [f": {size} bytes, {MAX_OPTIONS} are allowed"]
    if not known.builtin:  # a plug-in looks at its own, in the sandbox
        return []
    module = importlib.import_module(known.target.partition(":")[0])
    return [f".{fault}" for fault in faults_of(options, module.OPTIONS)]


def _has_keys(value: Any, place: str, needed: set[str], allowed: set[str], faults: list[str]) -> bool:
    if not isinstance(value, Mapping):
        faults.append(f"{place}: is {type(value).__name__}, not a mapping")
        return False
    before = len(faults)
    faults += [f"{place}.{key}: is missing" for key in sorted(needed - set(value))]
    unknown = sorted(map(str, set(value) - allowed))
    faults += [f"{place}.{key}: is unknown; there are {', '.join(sorted(allowed))}" for key in unknown]
    return len(faults) == before
