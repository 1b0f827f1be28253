"""Backstage entities: their references and the rules for their documents.

Knows the catalog's grammar of references and names (Backstage docs, "References" and
"Descriptor format"). Must not know where documents are stored or how a catalog reads them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import yaml

from bridge.domain.errors import DefinitionInvalid

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_REF = re.compile(r"(?:(?P<kind>[A-Za-z][\w.-]*):)?(?:(?P<namespace>[\w.-]+)/)?(?P<name>[\w.-]+)")

ENTITY_RUN_ANNOTATION = "bridge/run"
"""The run that wrote a document; the catalog shows the document's new state once it shows this."""


@dataclass(frozen=True, slots=True)
class EntityRef:
    """``kind:namespace/name``, lower-cased kind and namespace as the catalog compares them."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str, *, kind: str = "group", namespace: str = "default") -> Self:
        """Read a full or short reference; what is missing is taken from the defaults.

        Pickers return full references, but short names when their default kind matches.

        Raises:
            ValueError: *text* is not a reference.
        """
        match = _REF.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not an entity reference")
        return cls(
            kind=(match["kind"] or kind).lower(),
            namespace=(match["namespace"] or namespace).lower(),
            name=match["name"],
        )

    def __str__(self) -> str:
        return f"{self.kind}:{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class EntityDocument:
    """A catalog document that the bridge serves, and the run that made it."""

    ref: EntityRef
    document: Mapping[str, Any]
    run_id: str | None = None

    def to_yaml(self) -> str:
        """The document as the catalog reads it; the same document gives the same bytes."""
        return yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True, width=10_000)

    @property
    def path(self) -> str:
        """Where the bridge serves it, from the root of its own address."""
        return f"/catalog/{self.ref.kind}/{self.ref.name}.yaml"


def entity_document(document: Mapping[str, Any], *, run_id: str | None = None) -> EntityDocument:
    """Check a rendered document and stamp it with the run that made it.

    Raises:
        DefinitionInvalid: The document has no valid kind or name, so no catalog would take it.
    """
    metadata = document.get("metadata")
    kind = document.get("kind")
    if not isinstance(metadata, Mapping) or not isinstance(kind, str):
        raise DefinitionInvalid("spec.catalog.entity needs kind and metadata")
    name = str(metadata.get("name", ""))
    if _NAME.fullmatch(name) is None:
        raise DefinitionInvalid(f"spec.catalog.entity gives {name!r}, which no catalog takes")
    namespace = str(metadata.get("namespace", "default"))
    stamped = {**document}
    if run_id is not None:
        annotations = {**metadata.get("annotations", {}), ENTITY_RUN_ANNOTATION: run_id}
        stamped["metadata"] = {**metadata, "annotations": annotations}
    ref = EntityRef(kind=kind.lower(), namespace=namespace.lower(), name=name)
    return EntityDocument(ref=ref, document=stamped, run_id=run_id)


def cluster_document(name: str, *, owner: str, api_server: str | None = None) -> EntityDocument:
    """The cluster that namespaces depend on, so that their relation does not dangle."""
    annotations = {"kubernetes.io/api-server": api_server} if api_server else {}
    document = {
        "apiVersion": "backstage.io/v1alpha1",
        "kind": "Resource",
        "metadata": {
            "name": name,
            "title": f"Kubernetes cluster {name}",
            "description": "The cluster that the bridge provisions namespaces on.",
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {"type": "kubernetes-cluster", "owner": owner},
    }
    return entity_document(document)


def strong_etag(text: str) -> str:
    """A strong entity tag of *text* (RFC 9110, 8.8.3), quotes included."""
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """SHA-256 (hex) of the canonical JSON of *value*: key order does not matter."""
    text = _CANONICAL.encode(value)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
