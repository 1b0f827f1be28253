"""What callers send, as docs/reference/http-api.md shows it.

Knows JSON shapes and which text may be kept. Must not know what becomes of it: an action's input
and an approval's are checked by the use cases, against schemas of their own.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from bridge.domain.inputs import forbidden_text

_BREAKS = re.compile("[\t\n\u2028\u2029]")


def _plain(text: str) -> str:
    """One line that neither Argo nor a terminal would act on; rejections end up in Argo."""
    reason = forbidden_text(text, braces=True)
    if reason is None and _BREAKS.search(text):
        reason = "must be a single line"
    if reason is not None:
        raise ValueError(reason)
    return text


Short = Annotated[str, Field(max_length=300), AfterValidator(_plain)]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=500), AfterValidator(_plain)
]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class _Closed(_Body):
    model_config = ConfigDict(extra="forbid")


class ContextBody(_Body):
    """Which Backstage task asks."""

    task_id: Short | None = None
    step_id: Short | None = None
    template: Short | None = None
    attempt: Short | None = None
    dry_run: bool = False


class RunRequest(_Closed):
    """Body of ``POST /v1/runs``."""

    action: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain)]
    input: dict[str, Any] = Field(default_factory=dict)
    context: ContextBody = Field(default_factory=ContextBody)


class ReasonBody(_Closed):
    """Why somebody cancels, terminates or rejects."""

    reason: Reason = ""


class ApprovalBody(ReasonBody):
    """Why somebody approves, and what the approval asks for."""

    inputs: dict[str, Any] = Field(default_factory=dict)


class RetryBody(ReasonBody):
    """Why somebody tries again, and whether with a new workflow or the failed steps of the old."""

    mode: Literal["attempt", "workflow"] = "attempt"


class ReaderBody(_Closed):
    """The last event that a reader has dealt with."""

    seq: Annotated[int, Field(strict=True, ge=0)]


class NamespaceRecord(_Closed):
    """What a workflow tells the Platform API of a namespace."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    status: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
    team: Short = ""
    environment: Short = ""
    workflow: Short = ""
    request_id: Short = ""
