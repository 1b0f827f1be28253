"""Pods: what runs for a node of type Pod or HTTP, and what it leaves behind.

Knows which kind of template is run by which module. Knows nothing of the tree of nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SUCCESS = 0


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
