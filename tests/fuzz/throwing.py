"""Requests drawn from a document by Schemathesis, thrown at a bridge, and what came back judged.

Knows which checks an answer must pass. Must not know routes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    allow_header_conformance,
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    allow_header_conformance,
]
_SECONDS = 20.0


@dataclass(slots=True)
class Tally:
    """How many requests got which status, by operation, and what was wrong with answers."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    wrong: dict[tuple[str, str], str] = field(default_factory=dict)
    """The first of each kind: by operation and what is wrong, the request that repeats it."""

    @property
    def requests(self) -> int:
        """All requests so far."""
        return sum(counted.total() for counted in self.statuses.values())

    def note(self, operation: str, status: int) -> None:
        """Count an answer."""
        self.statuses.setdefault(operation, Counter())[status] += 1

    def complain(self, operation: str, what: str, request: str) -> None:
        """Keep what is wrong, once."""
        self.wrong.setdefault((operation, what), request)


def throw(
    document: Mapping[str, Any],
    *,
    url: str,
    headers: Mapping[str, str],
    tally: Tally,
    examples: int,
    seed: int,
) -> None:
    """Draw right and wrong requests for every operation, at most *examples* of each, and send."""
    if not examples:
        return
    schema = schemathesis.openapi.from_dict(dict(document))
    with requests.Session() as session:
        session.headers.update(headers)
        session.trust_env = False  # no proxy and no .netrc of whoever runs this

        def send(case: Case[Any]) -> None:
            _send(case, url, session, tally)

        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            for mode in GenerationMode:
                cases = found.ok().as_strategy(mode)
                _repeat(send, cases, examples=examples, seed=seed)


def _repeat(send: Callable[[Case[Any]], None], cases: Any, *, examples: int, seed: int) -> None:
    drawn = given(case=cases)(send)
    settled = hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(drawn)
    try:
        hypothesis.seed(seed)(settled)()
    except hypothesis.errors.Unsatisfiable:
        return  # nothing to get wrong in a request without parameters


def _send(case: Case[Any], url: str, session: requests.Session, tally: Tally) -> None:
    label = case.operation.label
    case.path_parameters = {name: _in_path(part) for name, part in case.path_parameters.items()}
    try:
        answer = case.call(base_url=url, session=session, timeout=_SECONDS)
    except requests.RequestException as error:
        tally.complain(label, f"no answer: {error}", case.as_curl_command())
        return
    tally.note(label, answer.status_code)
    try:
        case.validate_response(answer, checks=CHECKS)
    except FailureGroup as failures:
        for failure in failures.exceptions:
            tally.complain(label, f"{failure.title}: {failure.message}", case.as_curl_command())


def _in_path(drawn: Any) -> str:
    """What is drawn of another type comes unquoted: a question mark in it is another address."""
    return drawn if isinstance(drawn, str) else quote(str(drawn), safe="")
