"""Where `resource` templates go: the port of the engine, and the cluster in memory.

Knows how Argo's executor calls kubectl for a resource template and what kubectl then prints.
Must not know workflows. The cluster behind a kubeconfig is in `kubectl.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from bridge.localargo.errors import ArgoError
from bridge.localargo.kinds import ApiError
from bridge.localargo.manifests import ManifestError, documents, parse
from bridge.localargo.objects import Key, ObjectStore
from bridge.localargo.resource_flags import FlagError, ResourceFlags
from bridge.localargo.selectors import parse_labels

MANIFEST_PATH = "/tmp/manifest.yaml"  # noqa: S108 - only shown: where Argo's executor has it
NOT_ONE_OBJECT = (
    "Kind and name are both required but at least one of them is missing from the manifest"
)
ACTIONS = ("get", "create", "apply", "delete", "replace", "patch")
_DOING = {"create": "creating", "apply": "creating", "replace": "replacing"}


class ResourceError(Exception):
    """A resource action that failed.

    `str()` is what Argo shows after `main: Error (exit code 64): `: kubectl's own stderr has
    `no more retries ` before it (argo-recordings/injection-manifest).
    """


class Cluster(Protocol):
    """Does what `kubectl <action>` does for one resource template."""

    async def run(
        self,
        action: str,
        *,
        manifest: str | None,
        flags: Sequence[str] = (),
        merge_strategy: str | None = None,
        namespace: str,
    ) -> dict[str, Any] | None:
        """Do `get`, `create`, `apply`, `patch`, `replace` or `delete`; return the object.

        `manifest` is YAML after substitution, `namespace` where namespaced objects go that name
        none. None after `delete`, and after a `get` with `--ignore-not-found` of nothing.
        `merge_strategy` (of `patch`): `strategic` (also when None), `merge` or `json`.
        Several objects are all written, then the action fails. Raises ResourceError.
        """
        ...

    async def read(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the object of `found` as it is now; raise ResourceError if it is gone.

        For conditions and output parameters, which Argo reads after the action.
        """
        ...


class MemoryCluster:
    """A Cluster whose objects are in an ObjectStore; `objects` is there for demos and tests."""

    def __init__(self, objects: ObjectStore) -> None:
        """Work on `objects`, which others may read and change too."""
        self.objects = objects

    async def run(
        self,
        action: str,
        *,
        manifest: str | None,
        flags: Sequence[str] = (),
        merge_strategy: str | None = None,
        namespace: str,
    ) -> dict[str, Any] | None:
        """See Cluster."""
        call = _Call(self.objects, manifest or "", namespace=namespace)
        try:
            return call.run(action, flags, strategy=merge_strategy or "strategic")
        except (ApiError, FlagError, ManifestError, ArgoError) as error:
            raise ResourceError(f"no more retries {_stderr(error, action)}") from error

    async def read(self, found: dict[str, Any]) -> dict[str, Any]:
        """See Cluster."""
        try:
            return self.objects.get(self.objects.key(found, namespace=""))
        except ApiError as error:
            raise ResourceError(
                "The resource has been deleted while its status was still being checked. "
                f"Will not be retried: {error}"
            ) from error


def only_object(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the one object of an answer; raise ResourceError for several, as Argo does."""
    if len(found) != 1:
        raise ResourceError(NOT_ONE_OBJECT)
    return found[0]


class _Call:
    """One call of kubectl on a store."""

    def __init__(self, objects: ObjectStore, manifest: str, *, namespace: str) -> None:
        self._objects = objects
        self._manifest = manifest
        self._namespace = namespace

    def run(self, action: str, flags: Sequence[str], *, strategy: str) -> dict[str, Any] | None:
        if action not in ACTIONS:
            raise ResourceError(f"the embedded Argo does not do the action {action}")
        if not self._manifest and not flags:
            raise ResourceError("Must provide at least one of flags or manifest.")
        asked = ResourceFlags.parse(flags)
        self._namespace = asked.namespace or self._namespace
        if action == "delete":
            self._delete(asked)
            return None
        if action == "patch":
            return self._patch(asked, strategy)
        if action == "get":
            return self._get(asked)
        return only_object([self._write(action, each) for each in self._each(asked)])

    def _each(self, asked: ResourceFlags) -> Iterator[dict[str, Any]]:
        """Yield the objects of the manifest, also those inside a List."""
        for document in documents(self._manifest):
            for each in _listed(document):
                if not isinstance(each, dict):
                    text = f'unable to decode "{MANIFEST_PATH}": an object is expected, not {each}'
                    raise ResourceError(f"no more retries error: {text}")
                self._check_namespace(each, asked)
                yield each

    def _check_namespace(self, each: dict[str, Any], asked: ResourceFlags) -> None:
        named = self._objects.key(each, namespace="").namespace
        if asked.namespace and named and named != asked.namespace:
            raise FlagError(
                f'error: the namespace from the provided object "{named}" does not match the '
                f"namespace \"{asked.namespace}\". You must pass '--namespace={named}' to perform "
                "this operation."
            )

    def _write(self, action: str, each: dict[str, Any]) -> dict[str, Any]:
        write = {
            "create": self._objects.create,
            "apply": self._objects.apply,
            "replace": self._objects.replace,
        }[action]
        return write(each, namespace=self._namespace)

    def _keys(self, asked: ResourceFlags) -> list[Key]:
        """Return what the manifest, or the words of the flags, stand for."""
        word, names = asked.targets
        if not word:
            return [
                self._objects.key(each, namespace=self._namespace) for each in self._each(asked)
            ]
        kind = self._objects.kind_named(word)
        namespace = self._namespace if kind.namespaced else ""
        if names:
            return [Key(kind, namespace, name) for name in names]
        if not (asked.selector or asked.all or asked.everywhere):
            raise FlagError("error: resource(s) were provided, but no name was specified")
        return list(
            self._objects.select(
                kind,
                namespace=None if asked.everywhere else namespace,
                selector=parse_labels(asked.selector),
            )
        )

    def _delete(self, asked: ResourceFlags) -> None:
        """Delete what is there: Argo always passes `--ignore-not-found`."""
        for key in self._keys(asked):
            try:
                self._objects.delete(key)
            except ApiError as error:
                if error.reason != "NotFound":
                    raise

    def _get(self, asked: ResourceFlags) -> dict[str, Any] | None:
        try:
            return only_object([self._objects.get(key) for key in self._keys(asked)])
        except ApiError as error:
            if error.reason == "NotFound" and asked.ignore_not_found:
                return None
            raise

    def _patch(self, asked: ResourceFlags, strategy: str) -> dict[str, Any]:
        patch = parse(self._manifest)
        names_object = isinstance(patch, dict) and "kind" in patch and strategy != "json"
        if not names_object and not asked.words:
            raise FlagError("error: must specify --patch or --patch-file containing the contents")
        keys = self._keys(asked)
        return only_object([self._objects.patch(key, patch, strategy=strategy) for key in keys])


def _listed(document: Any) -> list[Any]:
    """Return the items of a List, else the document itself."""
    if isinstance(document, dict) and document.get("kind") == "List":
        items = document.get("items")
        return items if isinstance(items, list) else []
    return [document]


def _stderr(error: Exception, action: str) -> str:
    """Return the line kubectl prints for a refusal."""
    if isinstance(error, ManifestError):
        return f"error: error parsing {MANIFEST_PATH}: error converting YAML to JSON: {error}"
    if not isinstance(error, ApiError) or error.reason == "Invalid":
        return str(error)
    if error.reason == "NoMatch":
        return f'error: resource mapping not found for name in "{MANIFEST_PATH}": {error}'
    doing = f'error when {_DOING[action]} "{MANIFEST_PATH}": ' if action in _DOING else ""
    return f"Error from server ({error.reason}): {doing}{error}"
