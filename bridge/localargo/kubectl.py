"""The cluster behind a kubeconfig: resource templates done by the real kubectl.

Knows the command lines of Argo's executor (its `workflow/executor/resource.go`). Must not know
workflows or what the objects mean.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.localargo.cluster import ACTIONS, MANIFEST_PATH, ResourceError, only_object
from bridge.localargo.manifests import ManifestError, documents

_NAMESPACE_FLAGS = ("-n", "--namespace", "-A", "--all-namespaces")


@dataclass(frozen=True, slots=True)
class KubectlCluster:
    """A Cluster reached with `kubectl` from PATH; each call may take `timeout` seconds."""

    kubeconfig: Path
    timeout: float = 60.0

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
        if action not in ACTIONS:
            raise ResourceError(f"the embedded Argo does not do the action {action}")
        if not manifest and not flags:
            raise ResourceError("Must provide at least one of flags or manifest.")
        with tempfile.TemporaryDirectory(prefix="argo-resource-") as folder:
            path = Path(folder) / "manifest.yaml"
            await asyncio.to_thread(path.write_text, manifest or "", encoding="utf-8")
            arguments = _arguments(
                action, str(path), manifest or "", flags, merge_strategy or "strategic"
            )
            arguments += _namespace(manifest or "", flags, namespace)
            output = await self._kubectl(arguments, shown_as=str(path))
        if action == "delete" or not output.strip():
            return None
        return _one_object(output)

    async def read(self, found: dict[str, Any]) -> dict[str, Any]:
        """See Cluster."""
        group = str(found.get("apiVersion", "")).rpartition("/")[0]
        kind = f"{found['kind']}.{group}" if group else str(found["kind"])
        metadata = found["metadata"]
        arguments = ["get", f"{kind}/{metadata['name']}", "-o", "json"]
        if metadata.get("namespace"):
            arguments += ["-n", metadata["namespace"]]
        return _one_object(await self._kubectl(arguments, shown_as=""))

    async def _kubectl(self, arguments: Sequence[str], *, shown_as: str) -> str:
        """Return stdout; `shown_as` is the path that Argo's own replaces in stderr."""
        try:
            process = await asyncio.create_subprocess_exec(
                "kubectl",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            )
        except OSError as error:
            raise ResourceError(f"no more retries cannot start kubectl: {error}") from error
        stdout, stderr = await self._finished(process)
        if process.returncode != 0:
            text = stderr.decode(errors="replace").strip()
            shown = text.replace(shown_as, MANIFEST_PATH) if shown_as else text
            raise ResourceError(f"no more retries {shown}")
        return stdout.decode(errors="replace")

    async def _finished(self, process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
        """Wait for the end; also a cancelled caller leaves no kubectl behind."""
        try:
            async with asyncio.timeout(self.timeout):
                return await process.communicate()
        except TimeoutError as error:
            reason = f"no more retries kubectl gave no answer within {self.timeout:g} s"
            raise ResourceError(reason) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _arguments(
    action: str, path: str, manifest: str, flags: Sequence[str], strategy: str
) -> list[str]:
    """Return the command line of Argo's executor for one resource template."""
    arguments = [action]
    names_file = bool(manifest)
    if action == "delete":
        arguments.append("--ignore-not-found")
    if action == "patch":
        arguments += ["--type", strategy, "--patch-file", path]
        names_file = strategy != "json" and _has_kind(manifest)
    arguments += flags
    if names_file:
        arguments += ["-f", path]
    return [*arguments, "-o", "name" if action == "delete" else "json"]


def _has_kind(manifest: str) -> bool:
    return any(isinstance(each, dict) and "kind" in each for each in _parsed(manifest))


def _parsed(manifest: str) -> list[Any]:
    """Return the documents, none if kubectl is going to complain about them."""
    try:
        return list(documents(manifest))
    except ManifestError:
        return []


def _namespace(manifest: str, flags: Sequence[str], namespace: str) -> list[str]:
    """Return the flag for the default namespace, unless flags or manifest name their own."""
    in_flags = any(flag.partition("=")[0] in _NAMESPACE_FLAGS for flag in flags)
    in_manifest = any(
        isinstance(each, dict) and (each.get("metadata") or {}).get("namespace")
        for each in _parsed(manifest)
    )
    return [] if in_flags or in_manifest else ["--namespace", namespace]


def _one_object(output: str) -> dict[str, Any]:
    try:
        found = json.loads(output)
    except ValueError as error:
        raise ResourceError(f"kubectl printed no JSON: {error}") from error
    metadata = found.get("metadata") if isinstance(found, dict) else None
    is_object = isinstance(metadata, dict) and metadata.get("name") and found.get("kind")
    return only_object([found] if is_object else [])
