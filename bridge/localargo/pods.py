"""Pods: what runs for a node of type Pod or HTTP, and what it leaves behind.

Knows which kind of template is run by which module. Knows nothing of the tree of nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.localargo.durations import parse_duration
from bridge.localargo.templates import as_text

SUCCESS = 0
_KILLED = 137  # 128 + SIGKILL


@dataclass(frozen=True, slots=True)
class PodResult:
    """How a pod ended.

    `exit_code` None means that there was no container (HTTP); `error` marks phase Error.
    `values` are the output parameters by name; `message` is what the node says if it failed.
    """

    exit_code: int | None
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    result: str | None = None
    error: bool = False

    @property
    def failed(self) -> bool:
        """Not a success."""
        return bool(self.message)


def exited(code: int, detail: str = "") -> PodResult:
    """The end of a main container with an exit code; 0 is a success."""
    if code == SUCCESS:
        return PodResult(code)
    text = f"main: Error (exit code {code})"
    return PodResult(code, f"{text}: {detail}" if detail else text)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod to run: its name, the template with tags replaced, and where its lines go."""

    name: str
    namespace: str
    template: Mapping[str, Any]
    write: Callable[[str], None]
    stop: asyncio.Event
    capture_result: bool = False


def time_limit(template: Mapping[str, Any]) -> float | None:
    """Seconds after which the template itself ends its pod."""
    limits = []
    if template.get("activeDeadlineSeconds") is not None:
        limits.append(float(as_text(template["activeDeadlineSeconds"])))
    if template.get("timeout"):
        limits.append(parse_duration(as_text(template["timeout"])))
    return min(limits, default=None)


def timed_out(template: Mapping[str, Any]) -> PodResult:
    """The end of a pod that took longer than its template allows."""
    if template.get("activeDeadlineSeconds") is not None:
        text = "Pod was active on the node longer than the specified deadline"
        return PodResult(_KILLED, text)
    return PodResult(_KILLED, "timeout")


def outputs_of(template: Mapping[str, Any], result: PodResult) -> dict[str, Any] | None:
    """`outputs` of the node of a pod that has ended."""
    declared = template.get("outputs", {}).get("parameters", [])
    outputs: dict[str, Any] = {}
    if declared:
        outputs["parameters"] = [_filled(item, result.values) for item in declared]
    if result.result is not None:
        outputs["result"] = result.result
    if result.exit_code is not None:
        outputs["exitCode"] = str(result.exit_code)
    return outputs or None


def _filled(parameter: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    name = parameter["name"]
    own = {"name": name, **({"value": values[name]} if name in values else {})}
    return {**own, **{key: item for key, item in parameter.items() if key != "name"}}
