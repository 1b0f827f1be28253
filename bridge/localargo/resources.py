"""`resource` templates: one action on one object, then waiting for its conditions.

Knows how Argo's executor goes about it and what it writes into the log of the pod. What an action
does is behind `Cluster`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from bridge.localargo.cluster import MANIFEST_PATH, Cluster, ResourceError
from bridge.localargo.conditions import ConditionError, Conditions, jq_value, json_path_value
from bridge.localargo.logs import executor_line
from bridge.localargo.paths import PathError
from bridge.localargo.pods import Pod, PodResult, exited
from bridge.localargo.templates import as_text

_FAILED = 64  # the exit code of Argo's executor when an action fails
_TERMINATED = 143  # 128 + SIGTERM


class ResourceRunner:
    """Runs the actions of resource templates."""

    def __init__(self, cluster: Cluster, *, poll_seconds: float) -> None:
        self._cluster = cluster
        self._poll = poll_seconds

    async def run(self, pod: Pod) -> PodResult:
        """Do the action and wait; `pod.stop` ends the wait as a signal would."""
        working = asyncio.ensure_future(self._work(pod))
        stopping = asyncio.ensure_future(pod.stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return exited(_TERMINATED)
            return working.result()
        except (ResourceError, ConditionError, PathError) as error:
            pod.write(f"Error: {error}")
            return exited(_FAILED, str(error))
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _work(self, pod: Pod) -> PodResult:
        template = pod.template["resource"]
        pod.write(executor_line("waiting for signals", "signalPath=/var/run/argo/ctr/main/signal"))
        action = as_text(template["action"])
        conditions = Conditions.parse(
            as_text(template.get("successCondition")), as_text(template.get("failureCondition"))
        )
        flags = [as_text(flag) for flag in template.get("flags") or ()]
        manifest = template.get("manifest")
        pod.write(_command_line(action, has_manifest=bool(manifest), flags=flags))
        found = await self._cluster.run(
            action,
            manifest=as_text(manifest) if manifest else None,
            flags=flags,
            merge_strategy=template.get("mergeStrategy"),
            namespace=pod.namespace,
        )
        if found is not None:
            pod.write(_object_line(found))
            found = await self._wait(found, conditions)
        values = self._values(pod, found or {})
        pod.write(executor_line("sub-process exited", "error=<nil>"))
        return PodResult(0, values=values)

    async def _wait(self, found: dict[str, Any], conditions: Conditions) -> dict[str, Any]:
        if not (conditions.success or conditions.failure):
            return found
        found = await self._cluster.read(found)
        while not conditions.fulfilled(found):
            await asyncio.sleep(self._poll)
            found = await self._cluster.read(found)
        return found

    def _values(self, pod: Pod, found: Mapping[str, Any]) -> dict[str, str]:
        declared = pod.template.get("outputs", {}).get("parameters", [])
        if not declared:
            pod.write(executor_line("No output parameters"))
            return {}
        pod.write(executor_line("Saving resource output parameters"))
        values = {}
        for parameter in declared:
            source = parameter.get("valueFrom") or {}
            if "jqFilter" in source:
                value = jq_value(found, source["jqFilter"])
            else:
                value = json_path_value(found, source.get("jsonPath", ""))
            values[parameter["name"]] = value
            line = ("Saved output parameter", f"name={parameter['name']}", f"value={value}")
            pod.write(executor_line(*line))
        return values


def _command_line(action: str, *, has_manifest: bool, flags: list[str]) -> str:
    words = ["kubectl", action]
    if has_manifest:
        words += ["-f", MANIFEST_PATH]
    return executor_line(" ".join([*words, *flags, "-o", "name" if action == "delete" else "json"]))


def _object_line(found: Mapping[str, Any]) -> str:
    metadata = found.get("metadata", {})
    namespace = metadata.get("namespace", "")
    group = found.get("apiVersion", "").rpartition("/")[0]
    kind = f"{str(found.get('kind', '')).lower()}.{group}"
    shown = namespace or '""'
    return executor_line(
        "Resource", f"namespace={shown}", f"resource={kind}/{metadata.get('name', '')}"
    )
