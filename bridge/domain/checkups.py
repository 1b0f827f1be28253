"""What is found when the bridge's surroundings are looked at, and how two templates differ.

Knows findings and WorkflowTemplates as JSON. Pure: must not know how anything is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

MOST_SKEW = timedelta(seconds=10)
"""Tokens are taken with so much of leeway between two clocks."""
CERTIFICATE_NOTICE = timedelta(days=14)
_TELLING = ("value", "default", "enum")
"""What of a parameter decides over its value."""


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was seen, and for what is wrong the sentence that says how to mend it."""

    check: str
    outcome: Outcome
    detail: str
    mend: str = ""


def ok(check: str, detail: str) -> Finding:
    """It is as it should be."""
    return Finding(check, Outcome.OK, detail)


def failed(check: str, detail: str, *, mend: str) -> Finding:
    """It is not."""
    return Finding(check, Outcome.FAILED, detail, mend)


def skipped(check: str, why: str, *, mend: str = "") -> Finding:
    """It was not looked at."""
    return Finding(check, Outcome.SKIPPED, why, mend)


def clock_of(peer: str, *, here: datetime, there: datetime | None) -> Finding:
    """Whether the clock of a *peer* is near ours; HTTP tells whole seconds."""
    check = f"{peer} clock"
    if there is None:
        return skipped(check, "it tells no date")
    apart = abs(there - here)
    if apart > MOST_SKEW:
        return failed(
            check,
            f"its clock and this one are {apart.total_seconds():.0f} s apart",
            mend="Let both machines follow the same time servers (NTP): tokens are refused when "
            f"clocks differ by more than {MOST_SKEW.total_seconds():.0f} s.",
        )
    return ok(check, f"{apart.total_seconds():.0f} s apart")


def certificate_of(owner: str, *, ends: datetime, now: datetime) -> Finding:
    """Whether a certificate lasts for a while yet."""
    check, left = f"{owner} certificate", ends - now
    if left < CERTIFICATE_NOTICE:
        word = "ended" if left < timedelta(0) else "ends"
        return failed(
            check,
            f"it {word} on {ends:%Y-%m-%d %H:%M} UTC",
            mend="Renew it, and see why nothing renewed it before (with cert-manager: "
            "kubectl describe certificate).",
        )
    return ok(check, f"ends on {ends:%Y-%m-%d}")


# --- templates ---------------------------------------------------------------------------------


def parameter_problems(
    installed: Mapping[str, Any], *, passed: Sequence[str], shipped: Mapping[str, Any] | None
) -> list[str]:
    """Why runs of an action would go wrong with the template that Argo has.

    Argo takes parameters that a template does not declare without a word, and refuses a workflow
    that lacks one without a default (research: argo, section 7.4).

    Args:
        installed: The WorkflowTemplate as Argo has it.
        passed: Names of the parameters that the action passes.
        shipped: The one that came with the action, if any.
    """
    there = parameters(installed)
    problems = [f"it has no parameter {name}" for name in passed if name not in there]
    problems += [
        f"its parameter {name} has no value, and the action passes none"
        for name, declared in there.items()
        if name not in passed and not {"value", "valueFrom", "default"} & declared.keys()
    ]
    if shipped is not None:
        wanted = parameters(shipped)
        problems += [
            f"its parameter {name} is not the shipped one"
            for name in wanted.keys() & there.keys()
            if any(wanted[name].get(field) != there[name].get(field) for field in _TELLING)
        ]
        problems += [f"it lacks the shipped parameter {n}" for n in wanted if n not in there]
    return sorted(set(problems))


def parameters(template: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The declared arguments of a WorkflowTemplate by name."""
    arguments = (template.get("spec") or {}).get("arguments") or {}
    return {str(one.get("name")): one for one in arguments.get("parameters") or ()}


def differences(shipped: Any, installed: Any, *, path: str = "") -> Iterator[str]:
    """The fields of *shipped* that *installed* does not have like that.

    Argo and Kubernetes add fields, leave out what is empty and write numbers as they like, so
    only what was shipped counts.
    """
    if isinstance(shipped, Mapping) and isinstance(installed, Mapping):
        for key, value in shipped.items():
            place = f"{path}.{key}" if path else str(key)
            if key in installed:
                yield from differences(value, installed[key], path=place)
            elif value:
                yield place
    elif _are_alike(shipped, installed):
        for index, (one, other) in enumerate(zip(shipped, installed, strict=True)):
            yield from differences(one, other, path=f"{path}[{index}]")
    elif _plain(shipped) != _plain(installed):
        yield path


def _are_alike(one: Any, other: Any) -> bool:
    """Whether both are lists of the same length."""
    return isinstance(one, list) and isinstance(other, list) and len(one) == len(other)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
