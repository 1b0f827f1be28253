"""Where `resource` templates go: the port of the engine and its two adapters.

Knows how Argo's executor calls kubectl for a resource template. Must not know workflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class ResourceError(Exception):
    """A resource action that failed.

    `str()` is what Argo shows after `main: Error (exit code 64): ` (argo-recordings/
    injection-manifest): kubectl's own stderr comes with `no more retries ` before it.
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
        Raises ResourceError.
        """
        ...

    async def read(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the object of `found` as it is now; raise ResourceError if it is gone.

        For conditions and output parameters, which Argo reads after the action.
        """
        ...
