"""What a body of `PUT /faults` may say: rules, the routes they are for, and when they apply.

Knows shapes and names (docs/reference/local-argo-faults.md). Knows nothing of HTTP, of streams or
of what a fault does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

UnaryRoute = Literal[
    "create",
    "list",
    "get",
    "delete",
    "stop",
    "terminate",
    "resume",
    "suspend",
    "set",
    "retry",
    "list-templates",
    "get-template",
    "create-template",
    "update-template",
    "info",
    "version",
    "userinfo",
    "list-archive",
    "get-archive",
    "delete-archive",
]
StreamRoute = Literal["watch", "log"]
Every = Literal["*"]

ACTIONS = frozenset({"stop", "terminate", "resume", "suspend", "set", "retry"})
# The calls that share the connection between the gateway and the gRPC server inside Argo Server.
WORKFLOW_SERVICE = ACTIONS | {"create", "list", "get", "delete", "watch", "log"}

# What makes sense for some routes only; any other fault is for all routes of its part.
_ONLY: Mapping[str, frozenset[str]] = {
    "ignore": ACTIONS,
    "stale": frozenset({"list"}),
    "exists": frozenset({"create"}),
    "lose": frozenset({"log"}),
    **dict.fromkeys(("rotate", "expire", "coalesce", "replay", "duplicate"), frozenset({"watch"})),
}


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """Read a body.

        Raises:
            ValueError: with one sentence that says where it is wrong.
        """
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{place}: {first['msg']}") from error


class Rule(_Shape):
    """When a fault applies: after `skip` matches, at most `times`, with probability `chance`.

    `seconds` is a number, or the least and the most of a range to draw from.
    """

    skip: NonNegativeInt = 0
    times: NonNegativeInt | None = None
    chance: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: int | None = None
    seconds: NonNegativeFloat | tuple[NonNegativeFloat, NonNegativeFloat] | None = None


class UnaryRule(Rule):
    """A fault of calls with one answer."""

    fault: Literal[
        "delay",
        "cut-before",
        "cut-after",
        "exists",
        "modified",
        "rate-limit",
        "internal",
        "unavailable",
        "html",
        "ignore",
        "stale",
    ]
    route: UnaryRoute | Every | tuple[UnaryRoute, ...] = "*"
    applied: bool = False
    retry_after: NonNegativeInt | None = None
    message: str = "etcdserver: request timed out"
    behind: PositiveInt = 1

    def matches(self, route: str) -> bool:
        """Whether the rule is for calls of this route."""
        return _is_for(self.fault, self.route, route)


class StreamRule(Rule):
    """A fault of watches and logs; `events` counts frames."""

    fault: Literal[
        "rotate",
        "expire",
        "cut",
        "end",
        "silent",
        "delay",
        "coalesce",
        "replay",
        "duplicate",
        "lose",
        "rate-limit",
        "internal",
        "unavailable",
        "html",
    ]
    route: StreamRoute | Every | tuple[StreamRoute, ...] = "*"
    events: NonNegativeInt | None = None
    retry_after: NonNegativeInt | None = None
    message: str = "etcdserver: request timed out"

    @property
    def at_once(self) -> bool:
        """It waits neither for frames nor for time."""
        return self.events is None and self.seconds is None

    def matches(self, route: str, *, resumes: bool) -> bool:
        """Whether the rule is for this stream; `resumes`: it asks for a resourceVersion.

        Only who asks for a version can be told at the start that it is too old.
        """
        wanted = resumes or self.fault != "expire" or not self.at_once
        return wanted and _is_for(self.fault, self.route, route)


class WorkflowRule(Rule):
    """A fate of workflows, of one template or of all."""

    fault: Literal["no-phase", "vanish", "vanish-unseen"]
    template: str | None = None


class FaultPlan(_Shape):
    """The whole body of `PUT /faults`."""

    seed: int = 0
    archive: bool = False
    stream_limit: PositiveInt | None = None
    unary: tuple[UnaryRule, ...] = ()
    streams: tuple[StreamRule, ...] = ()
    workflows: tuple[WorkflowRule, ...] = ()


class Deed(_Shape):
    """The body of `POST /faults/now`; `name` is for `delete`, `route` for `cut` and `silent`."""

    do: Literal[
        "rotate",
        "expire",
        "cut",
        "end",
        "silent",
        "replay",
        "duplicate",
        "delete",
        "delete-ended",
        "lose-logs",
    ]
    route: StreamRoute | Every = "*"
    name: str | None = None


def _is_for(fault: str, named: str | tuple[str, ...], route: str) -> bool:
    if route not in _ONLY.get(fault, (route,)):
        return False
    names = (named,) if isinstance(named, str) else named
    return "*" in names or route in names
