"""A manifest's text as plain values, judged as an API server with its resource's CRD would.

What the typed values of each resource (``cluster``, ``benchmark``) are made of: defaults, structure, unknown
fields, metadata, CEL rules, the place of each fault in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Generic, Protocol, TypeVar, cast

from peersdb_operator import rules
from peersdb_operator.definition import API_VERSION, Resource, structural_faults, with_defaults
from peersdb_operator.documents import Document, load, render
from peersdb_operator.errors import Fault, ManifestError

_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_LABEL_KEY = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"
)
_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")

_METADATA_BY_SERVER = frozenset(
    {
        "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName",
        "generation", "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid",
    }
)  # fmt: skip
"""Fields of ObjectMeta that a manifest may carry (``kubectl get -o yaml`` writes them) and that mean nothing
here."""


@dataclass(frozen=True, slots=True)
class Image:
    """A container image."""

    repository: str
    tag: str | None
    digest: str | None
    pull_policy: str
    pull_secrets: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What a container's ``image`` field takes."""
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Image:
        """Read the field ``image`` of a valid spec, defaults filled in."""
        return cls(
            repository=spec["repository"],
            tag=spec.get("tag"),
            digest=spec.get("digest"),
            pull_policy=spec["pullPolicy"],
            pull_secrets=tuple(secret["name"] for secret in spec.get("pullSecrets", [])),
        )


def contents(path: FilePath) -> bytes:
    """Read a manifest file's bytes.

    Raises:
        ManifestError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(str(path), [Fault("", f"cannot be read: {error.strerror}")]) from error


class Judged(Protocol):
    """The typed values of a manifest that has no faults."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The object, all defaults filled in."""
        ...


Values = TypeVar("Values", bound=Judged)


@dataclass(frozen=True, slots=True)
class Reader(Generic[Values]):
    """Reads manifests of one resource.

    Attributes:
        resource: what they must be.
        table: the rules that hold for each object.
        transitions: the rules that hold for a change.
        typed: makes the values of an object without faults: of it with all defaults, and of it as it was written.
    """

    resource: Resource
    table: Sequence[rules.Rule]
    transitions: Sequence[rules.Transition]
    typed: Callable[[dict[str, Any], Mapping[str, Any]], Values]

    def read(self, path: FilePath) -> Values:
        """Read a manifest file.

        Raises:
            ManifestError: it cannot be read, or has faults; all of them.
        """
        return self.parse(contents(path), str(path))

    def parse(self, data: bytes, source: str = "manifest") -> Values:
        """Judge the text of a manifest.

        Args:
            data: the file's bytes; exactly one document that is not empty.
            source: what to call the file in messages.

        Raises:
            ManifestError: every fault, with its path, line and column.
        """
        documents = load(data, source)
        if not documents:
            raise ManifestError(source, [Fault("", f"empty: write a {self.resource.kind} of {API_VERSION}")])
        faults: list[Fault] = []
        for index, document in enumerate(documents):
            faults += [_placed(fault, document) for fault in self.object_faults(document.value)]
            if index:
                place = document.marks.get((), (0, 0))
                faults.append(
                    Fault("", f"a second document: keep one {self.resource.kind} to a file", *place)
                )
        if faults:
            raise ManifestError(
                source, sorted(faults, key=lambda fault: (fault.line, fault.column, fault.path))
            )
        return self.from_object(cast("dict[str, Any]", documents[0].value))

    def object_faults(self, value: Any) -> list[Fault]:
        """List every fault of an object, as the API server would after defaulting."""
        resource = self.resource
        if not isinstance(value, dict):
            return [Fault("", f"must be a mapping: write a {resource.kind} of {API_VERSION}", shape=True)]
        if value.get("kind") != resource.kind or value.get("apiVersion") != API_VERSION:
            return list(_kind_faults(resource, value))
        filled = with_defaults(value, resource.schema())
        faults = structural_faults(filled, resource.schema())
        faults += _metadata_faults(resource, filled.get("metadata"))
        return [*faults, *rules.broken(self.table, filled, faults)]

    def from_object(self, value: Mapping[str, Any]) -> Values:
        """Make the typed values of an object.

        Raises:
            ManifestError: it has faults.
        """
        faults = self.object_faults(value)
        if faults:
            raise ManifestError("manifest", faults)
        return self.typed(cast("dict[str, Any]", with_defaults(value, self.resource.schema())), value)

    def check_change(self, new: Values, old: Values, source: str = "manifest") -> None:
        """Judge a change by the CRD's rules over ``oldSelf``.

        Raises:
            ManifestError: the changes that are not allowed.
        """
        faults = list(rules.forbidden(self.transitions, new.manifest, old.manifest))
        if faults:
            raise ManifestError(source, faults)


def _kind_faults(resource: Resource, value: Mapping[str, Any]) -> Iterator[Fault]:
    for field, wanted in (("apiVersion", API_VERSION), ("kind", resource.kind)):
        if value.get(field) != wanted:
            found = f"not {value[field]!r}" if value.get(field) is not None else "and is missing"
            yield Fault(field, f"must be {wanted}, {found}", shape=True)


def _metadata_faults(resource: Resource, metadata: Any) -> Iterator[Fault]:
    """Judge what the CRD's schema leaves to the API server's own rules for ObjectMeta."""
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        return  # a fault of the schema
    if "name" not in metadata:
        yield Fault("metadata.name", f"required: give the {resource.noun} a name", shape=True)
    namespace = metadata.get("namespace")
    if namespace is not None and not (isinstance(namespace, str) and _DNS_LABEL.match(namespace)):
        yield Fault("metadata.namespace", "must be lower-case letters, digits and '-', at most 63")
    for field in ("labels", "annotations"):
        yield from _string_map_faults(f"metadata.{field}", metadata.get(field), values_too=field == "labels")
    for field in metadata:
        if field not in {"name", "namespace", "labels", "annotations"} and field not in _METADATA_BY_SERVER:
            yield Fault(f"metadata.{field}", "unknown field: take it out")


def _string_map_faults(path: str, value: Any, *, values_too: bool) -> Iterator[Fault]:
    if value is None:
        return
    if not isinstance(value, dict):
        yield Fault(path, "must be a mapping of strings", shape=True)
        return
    for key, item in value.items():
        if not _LABEL_KEY.match(key if values_too else key.lower()):
            yield Fault(
                f"{path}.{key}",
                "the key must be a name of at most 63 characters, with a domain and '/' before it or not",
            )
        if not isinstance(item, str):
            yield Fault(f"{path}.{key}", "must be a string: put it in quotes", shape=True)
        elif values_too and not _LABEL_VALUE.match(item):
            yield Fault(f"{path}.{key}", "must be at most 63 letters, digits, '-', '_' or '.'")


def _placed(fault: Fault, document: Document) -> Fault:
    """Give a fault the place of its field, or of the nearest one around it that the file has."""
    by_text = {render(path): mark for path, mark in document.marks.items()}
    path = fault.path
    while path not in by_text and path:
        path = re.sub(r"(?:\.?[^.\[\]]+|\[\d+\])\Z", "", path)
    line, column = by_text.get(path, (0, 0))
    return Fault(fault.path, fault.message, line, column, fault.shape)
