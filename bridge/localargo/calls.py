"""What the walk over a workflow's templates passes around, and how it ends early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.localargo.nodes import Node
from bridge.localargo.workflow import Workflow


class NodeError(Exception):
    """A template that could not be executed; its node carries the message already."""


class StuckError(Exception):
    """Something that the real controller tries again for ever, without telling anyone."""


class Controller(Protocol):
    """What a look at a workflow needs from around it."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def start(self, workflow: Workflow, node: Node, template: Mapping[str, Any]) -> None:
        """Start the pod (or HTTP call) of a node whose template has its tags replaced."""
        ...

    def stop(self, workflow: Workflow, node: Node) -> None:
        """End the pod of a node, if it has one that runs."""
        ...

    def completed(self, workflow: Workflow) -> None:
        """Take note that a workflow has its final phase."""
        ...

    def look_again(self, workflow: Workflow, at: float) -> None:
        """Look at the workflow once more at this time."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """How a template is entered: under which node, with which arguments, for whom."""

    template: str
    arguments: Mapping[str, Any]
    boundary: str = ""
    flag: Mapping[str, bool] | None = None
    on_exit: bool = False
    local: Mapping[str, str | None] | None = None
