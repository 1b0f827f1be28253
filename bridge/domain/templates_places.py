"""The fields of a WorkflowTemplate in which a value may stand, and on which terms.

Knows what Argo does with a value in each field (docs/reference/workflow-templates.md). Must not
know documents: a path of field names in, a rule out. A field that is not listed takes no value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bridge.domain.templates_guards import misplaced_in_expression, misplaced_in_guard
from bridge.domain.templates_manifests import misplaced_in_yaml
from bridge.domain.templates_tags import Misplaced, values_of

Rule = Callable[[str], Iterator[Misplaced]]


def _anything(text: str) -> Iterator[Misplaced]:
    """Data: Argo keeps what it inserts here inside its string."""
    del text
    yield from ()


def _whole(text: str) -> Iterator[Misplaced]:
    """A value may be all of it: what is around it would be a format that it can break."""
    values = values_of(text)
    if values and values[0].text != text.strip():
        why = "is put into a text of some format, which its characters can break"
        yield Misplaced(values[0], text, why, f'"{values[0].text}" alone')


def _option(text: str) -> Iterator[Misplaced]:
    """An argument of kubectl may not be an option that the form chooses."""
    values = values_of(text)
    if values and values[0].start == 0:
        why = "can be an option of kubectl, such as --all"
        mended = f'"--OPTION={text}" (such as "--namespace={text}") or "KIND/{text}"'
        yield Misplaced(values[0], text, why, mended)


def _lock(text: str) -> Iterator[Misplaced]:
    """A lock's name begins with what it locks, so that no form takes another's."""
    values = values_of(text)
    if values and values[0].start == 0:
        why = "can be the name of any other lock"
        yield Misplaced(values[0], text, why, f'"NAME-{text}"')


def nothing(text: str) -> Iterator[Misplaced]:
    """Refuse every value: this is where the workflow is decided."""
    for value in values_of(text):
        why = "stands where the workflow is decided, not where it takes data"
        mended = "the text itself, once for each choice, with a when that chooses"
        yield Misplaced(value, text, why, mended)


_PLACES: Mapping[str, Rule] = {
    "arguments.parameters.value": _anything,
    "inputs.parameters.value": _anything,
    "inputs.parameters.default": _anything,
    "outputs.parameters.value": _anything,
    "valueFrom.default": _anything,
    "http.headers.value": _anything,  # Go's HTTP client refuses line breaks
    # Numbers and durations: Argo reads them as such or fails.
    "retryStrategy.limit": _anything,
    "backoff.duration": _anything,
    "backoff.factor": _anything,
    "backoff.maxDuration": _anything,
    "templateDefaults.timeout": _anything,
    "templates.timeout": _anything,
    "suspend.duration": _anything,
    "activeDeadlineSeconds": _anything,
    "withSequence.count": _anything,
    "withSequence.start": _anything,
    "withSequence.end": _anything,
    "labels.*": _anything,
    "annotations.*": _anything,
    "withParam": _whole,
    "valueFrom.parameter": _whole,
    "raw.data": _whole,
    "resource.manifest": misplaced_in_yaml,
    "podSpecPatch": misplaced_in_yaml,
    "http.body": misplaced_in_yaml,
    "resource.flags": _option,
    "mutexes.name": _lock,
    "when": misplaced_in_guard,
    "retryStrategy.expression": nothing,  # it can read lastRetry only
    "transformation.expression": nothing,  # it can read data only
    "expression": misplaced_in_expression,
    "fromExpression": misplaced_in_expression,
}
"""Where a value may stand, by the end of the path of fields; ``*`` is any one field."""


def rule_for(path: tuple[str, ...]) -> Rule:
    """The rule for the field at the end of *path*; items of lists have no place in it."""
    if "withItems" in path:
        return _anything
    for length in (3, 2, 1):
        end = path[-length:]
        for found in (".".join(end), ".".join((*end[:-1], "*"))):
            if found in _PLACES:
                return _PLACES[found]
    return nothing
