"""A small Kubernetes object store for `resource` templates.

Knows how the API server keeps objects: namespaces, versions, status of fresh objects, merging.
Must not know kubectl's flags, workflows or who writes. Lists inside objects are replaced by a
patch, also by a strategic one. Nothing runs here: no pod starts, no quota is counted.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bridge.localargo.expression_functions import to_json
from bridge.localargo.json_patch import JsonPatchError, apply_json_patch
from bridge.localargo.kinds import (
    KINDS,
    ApiError,
    Kind,
    invalid,
    is_custom,
    kind_of,
    read,
    validate,
)
from bridge.localargo.selectors import Selector

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_KEPT = ("uid", "creationTimestamp", "name", "namespace")


class Key(NamedTuple):
    """Where an object is; `namespace` is "" for kinds of the whole cluster."""

    kind: Kind
    namespace: str
    name: str


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _uid() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Stamps:
    """What a fresh object gets from outside: the time (RFC 3339, UTC) and a uid."""

    now: Callable[[], str] = _now
    uid: Callable[[], str] = _uid


class ObjectStore:
    """Objects of one imaginary cluster; every answer is a copy.

    All refusals are ApiError with the API server's text. `namespace` arguments are where an
    object goes that names none; they are ignored for kinds of the whole cluster.
    """

    def __init__(
        self, *, namespaces: tuple[str, ...] = ("default",), stamps: Stamps | None = None
    ) -> None:
        """Start with these namespaces and nothing in them."""
        self._objects: dict[Key, dict[str, Any]] = {}
        self._version = 0
        self._stamps = stamps or Stamps()
        for name in namespaces:
            manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self.create(manifest, namespace="")

    def key(self, manifest: Mapping[str, Any], *, namespace: str) -> Key:
        """Return where the object of a manifest belongs; raise ApiError for an unknown kind."""
        kind = kind_of(str(manifest.get("apiVersion", "")), str(manifest.get("kind", "")))
        metadata = manifest.get("metadata")
        if not isinstance(metadata, Mapping):
            raise invalid(kind, "", ["metadata: Required value"])
        wanted = str(metadata.get("namespace") or namespace) if kind.namespaced else ""
        return Key(kind, wanted, str(metadata.get("name") or ""))

    def kind_named(self, word: str) -> Kind:
        """Return the kind that kubectl understands by `word`; raise ApiError (NoMatch).

        A word with a custom group (`schedules.velero.io`) is a kind without objects as long as
        there are none: a rollback may look for what was never made.
        """
        custom = [key.kind for key in self._objects if key.kind not in KINDS]
        for kind in (*KINDS, *custom):
            if kind.answers_to(word):
                return kind
        name, _, group = word.lower().partition(".")
        if name and is_custom(group):
            return Kind(name, name, group, fields=None)
        raise ApiError("NoMatch", f'the server doesn\'t have a resource type "{word}"')

    def get(self, key: Key) -> dict[str, Any]:
        """Return an object."""
        return copy.deepcopy(self._found(key))

    def list(self, kind: str | None = None, namespace: str | None = None) -> list[dict[str, Any]]:
        """Return all objects, or those of a kind (`ConfigMap`) or namespace, in a fixed order."""
        keys = sorted(self._objects, key=lambda key: (key.kind.name, key.namespace, key.name))
        return [
            copy.deepcopy(self._objects[key])
            for key in keys
            if kind in (None, key.kind.name) and namespace in (None, key.namespace)
        ]

    def select(self, kind: Kind, *, namespace: str | None, selector: Selector) -> tuple[Key, ...]:
        """Return the objects of a kind whose labels match, in all namespaces if None."""
        return tuple(
            key
            for key, found in self._objects.items()
            if key.kind == kind
            and namespace in (None, key.namespace)
            and selector.matches(found["metadata"].get("labels", {}))
        )

    def create(self, manifest: Mapping[str, Any], *, namespace: str) -> dict[str, Any]:
        """Add an object: AlreadyExists if it is there, NotFound if its namespace is not."""
        key = self.key(manifest, namespace=namespace)
        fresh = _without_nulls(manifest)
        validate(key.kind, fresh)
        self._require_namespace(key)
        if key in self._objects:
            raise ApiError("AlreadyExists", f'{key.kind.resource} "{key.name}" already exists')
        metadata = fresh["metadata"]
        metadata |= {"uid": self._stamps.uid(), "creationTimestamp": self._stamps.now()}
        if key.kind.namespaced:
            metadata["namespace"] = key.namespace
        return self._store(key, fresh)

    def apply(self, manifest: Mapping[str, Any], *, namespace: str) -> dict[str, Any]:
        """Create the object or make it as the manifest says, as `kubectl apply` does.

        What the last applied manifest had and this one has not is removed; the rest stays.
        """
        key = self.key(manifest, namespace=namespace)
        applied = _with_last_applied(manifest, namespace=key.namespace)
        live = self._objects.get(key)
        if live is None:
            return self.create(applied, namespace=namespace)
        annotations = live["metadata"].get("annotations", {})
        before = json.loads(annotations.get(LAST_APPLIED, "{}"))
        return self._update(key, merged(merged(live, _removed(before, manifest)), applied))

    def replace(self, manifest: Mapping[str, Any], *, namespace: str) -> dict[str, Any]:
        """Put the manifest in the place of the object; NotFound if there is none."""
        key = self.key(manifest, namespace=namespace)
        self._found(key)
        return self._update(key, _without_nulls(manifest))

    def patch(self, key: Key, patch: Any, *, strategy: str) -> dict[str, Any]:
        """Change an object by a merge patch (`merge`, `strategic`) or an RFC 6902 one (`json`)."""
        live = self.get(key)
        if strategy != "json":
            return self._update(key, merged(live, patch))
        try:
            return self._update(key, apply_json_patch(live, patch))
        except JsonPatchError as error:
            raise invalid(key.kind, key.name, [str(error)]) from error

    def delete(self, key: Key) -> None:
        """Remove an object, and with a namespace all that is in it."""
        self._found(key)
        del self._objects[key]
        if key.kind.name == "Namespace":
            inside = [other for other in self._objects if other.namespace == key.name]
            for other in inside:
                del self._objects[other]

    def _found(self, key: Key) -> dict[str, Any]:
        if key not in self._objects:
            raise ApiError("NotFound", f'{key.kind.resource} "{key.name}" not found')
        return self._objects[key]

    def _require_namespace(self, key: Key) -> None:
        if key.kind.namespaced:
            self._found(Key(self.kind_named("namespaces"), "", key.namespace))

    def _update(self, key: Key, wanted: Any) -> dict[str, Any]:
        """Store the object as `wanted`; what makes it this object stays as it is."""
        live = self._found(key)
        fields = wanted if isinstance(wanted, dict) else {}
        given = fields.get("metadata")
        metadata = dict(given) if isinstance(given, dict) else {}
        metadata |= {name: live["metadata"][name] for name in _KEPT if name in live["metadata"]}
        metadata.pop("resourceVersion", None)
        changed = {**fields, "apiVersion": live["apiVersion"], "kind": live["kind"]}
        changed["metadata"] = metadata
        validate(key.kind, changed)
        if changed.get("roleRef") != live.get("roleRef"):
            shown = to_json(changed.get("roleRef"))
            raise invalid(
                key.kind, key.name, [f"roleRef: Invalid value: {shown}: cannot change roleRef"]
            )
        return self._store(key, changed)

    def _store(self, key: Key, found: dict[str, Any]) -> dict[str, Any]:
        """Keep the object with its defaults; a new version only if something changed."""
        live = self._objects.get(key)
        stored = _with_defaults(key, found)
        version = live["metadata"]["resourceVersion"] if live else ""
        stored["metadata"]["resourceVersion"] = version
        if stored != live:
            self._version += 1
            stored["metadata"]["resourceVersion"] = str(self._version)
            self._objects[key] = copy.deepcopy(stored)
        return stored


def merged(value: Any, patch: Any) -> Any:
    """Return `value` changed by an RFC 7386 merge patch; None in it removes a key."""
    if not isinstance(patch, Mapping):
        return _without_nulls(patch)
    result = dict(copy.deepcopy(value)) if isinstance(value, Mapping) else {}
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), change)
    return result


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _removed(before: Any, now: Any) -> dict[str, Any]:
    """Return a merge patch that removes what `before` had and `now` has not."""
    patch: dict[str, Any] = {}
    for key, value in before.items():
        current = now.get(key)
        if current is None:
            patch[key] = None
        elif isinstance(value, Mapping) and isinstance(current, Mapping):
            patch[key] = _removed(value, current)
    return patch


def _with_last_applied(manifest: Mapping[str, Any], *, namespace: str) -> dict[str, Any]:
    clean: dict[str, Any] = _without_nulls(manifest)
    metadata = clean["metadata"]
    metadata["annotations"] = metadata.get("annotations") or {}
    if namespace:
        metadata["namespace"] = namespace
    text = f"{to_json(clean)}\n"
    if isinstance(metadata["annotations"], dict):
        metadata["annotations"] = {**metadata["annotations"], LAST_APPLIED: text}
    return clean


def _with_defaults(key: Key, found: dict[str, Any]) -> dict[str, Any]:
    """Add what the API server adds to the kinds of namespace provisioning."""
    metadata = dict(found["metadata"])
    defaults: dict[str, Any] = {}
    if key.kind.name == "Namespace":
        metadata["labels"] = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": key.name}
        defaults = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    if key.kind.name == "ResourceQuota":
        hard = read(found, "spec.hard") or {}
        defaults = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}
    if key.kind.name == "Ingress":
        defaults = {"status": {"loadBalancer": {}}}
    return {**found, "metadata": metadata, **defaults}
