"""Which validators there are, and the hash of what decides a verdict.

A plug-in is not imported here: its name is its entry point's, its version is that of the package that brings it, and
its source is read as files. So none of its code runs in the node.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import structlog

from peersdb.errors import SettingsError

log = structlog.get_logger("validators")

GROUP = "peersdb.validators"
#: Name and version: a vote has room for 128 characters of both.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]{0,39}")
#: A plug-in's source; more than this is no validator but its data, which belongs elsewhere.
MAX_SOURCE_FILES = 10_000
MAX_SOURCE = 64 * 1024 * 1024
#: Made from the source, on this machine and for it.
_MADE = frozenset((".pyc", ".pyo", ".so", ".pyd", ".dylib"))
_DOMAIN = b"peersdb-validator-v1:"
_HERE = Path(__file__).parent

#: The built-in ones: version (a new one whenever a verdict may change), module and function.
BUILTIN: Mapping[str, tuple[str, str, str]] = {
    "archive": ("1", "archive", "check"),
    "arrow": ("1", "columnar", "check_arrow"),
    "csv": ("1", "table_schema", "check"),
    "drift": ("1", "drift", "check"),
    "json": ("1", "json_document", "check"),
    "parquet": ("1", "columnar", "check_parquet"),
    "quality": ("1", "quality", "check"),
    "size": ("1", "size", "check"),
}
#: What the modules of built-ins share, and what decides their verdicts too.
_SHARED = ("builtin/tables.py", "media.py")


@dataclass(frozen=True, slots=True)
class Known:
    """A validator that is installed.

    Attributes:
        name: what rules call it by.
        version: of a built-in its own, of a plug-in its package's.
        target: its function, ``module:function``.
        builtin: whether it is the project's own.
        source: digest of its source.
    """

    name: str
    version: str
    target: str
    builtin: bool
    source: str

    @property
    def label(self) -> str:
        """Name and version, as in votes."""
        return f"{self.name}/{self.version}"

    def hash(self, options: Mapping[str, Any]) -> bytes:
        """The sha2-256 of what decides its verdict, 32 bytes."""
        fields = {"name": self.name, "version": self.version, "source": self.source, "options": options}
        return hashlib.sha256(_DOMAIN + canonical(fields)).digest()


def canonical(value: Any) -> bytes:
    """JSON in the one form that is hashed.

    Raises:
        ValueError: it has what JSON cannot say.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def names() -> list[str]:
    """The names of all validators that are installed, sorted."""
    return sorted({*BUILTIN, *_entry_points()})


def find(name: str) -> Known | None:
    """The validator of this name, or None.

    Raises:
        SettingsError: it is installed, but cannot be used.
    """
    if name in BUILTIN:
        version, module, function = BUILTIN[name]
        source = _digest([(part, _HERE / part) for part in (f"builtin/{module}.py", *_SHARED)])
        return Known(name, version, f"{GROUP}.builtin.{module}:{function}", builtin=True, source=source)
    points = _entry_points()
    if name not in points:
        return None
    point = points[name]
    version = point.dist.version if point.dist is not None else ""
    if not _VERSION.fullmatch(version):
        raise SettingsError(
            f"validator {name}: its package has the version {version!r}, which cannot be voted with"
        )
    if not re.fullmatch(r"[\w.]+:[\w.]+", point.value):
        raise SettingsError(
            f"validator {name}: its entry point {point.value!r} is not of the form module:function"
        )
    return Known(name, version, point.value, builtin=False, source=_digest(_source_of(name, point.module)))


def _entry_points() -> dict[str, metadata.EntryPoint]:
    found: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=GROUP):
        if not _NAME.fullmatch(point.name) or point.name in BUILTIN:
            log.warning("a validator's name cannot be used", name=point.name, package=_package(point))
        elif point.name in found and found[point.name].value != point.value:
            log.warning(
                "two packages have a validator of the same name: the first one is used",
                name=point.name,
                packages=[_package(found[point.name]), _package(point)],
            )
        else:
            found.setdefault(point.name, point)
    return found


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "?"


def _source_of(name: str, module: str) -> Iterator[tuple[str, Path]]:
    """The files of the top-level package that the module is in, or of the module alone."""
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError) as error:
        raise SettingsError(f"validator {name}: its module {top} cannot be found: {error}") from error
    if spec is None:
        raise SettingsError(f"validator {name}: its module {top} is not installed")
    if spec.submodule_search_locations is not None:
        for location in spec.submodule_search_locations:
            root = Path(location)
            for path in root.rglob("*"):
                if path.suffix not in _MADE and "__pycache__" not in path.parts and path.is_file():
                    yield f"{top}/{path.relative_to(root).as_posix()}", path
    elif spec.origin is not None:
        yield Path(spec.origin).name, Path(spec.origin)


def _digest(files: Iterator[tuple[str, Path]] | list[tuple[str, Path]]) -> str:
    """One digest of many files, the same wherever they lie and in whatever order they are listed."""
    hashes: dict[str, str] = {}
    total = 0
    for name, path in files:
        try:
            total += path.stat().st_size
            if total > MAX_SOURCE or len(hashes) >= MAX_SOURCE_FILES:
                raise SettingsError(
                    f"the validator's package at {path.parent} has more than {MAX_SOURCE_FILES} files "
                    f"or {MAX_SOURCE // 1024 // 1024} MiB: keep data out of it"
                )
            hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise SettingsError(f"the validator's source {path} cannot be read: {error.strerror}") from error
    return hashlib.sha256(canonical(hashes)).hexdigest()
