"""Every value of the corpus through every field of ``namespace:create``: refused, or literal.

``make injection ARGO=https://argo.example.com`` does the same on a real Argo.
"""

from __future__ import annotations

import asyncio
import itertools
import unicodedata
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio

from bridge.domain.entities import EntityRef
from tests.injection.corpus import GROUPS, RECORDED
from tests.injection.stage import REAL, Outcome, Stage

pytestmark = [
    pytest.mark.mass,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(7_200 if REAL else 600),
]

TEXTS = ("namespaceName", "team", "environment", "resourceTier", "networkPolicy", "description")
BASE = {"team": "team-a", "description": "An ordinary sentence"}
AT_ONCE = 12
NUMBERS = itertools.count()
LEGAL = {"production", "development", "staging", "small", "medium", "large", "team-shared"}


def fresh() -> str:
    """A name that no namespace has."""
    return f"i-{next(NUMBERS)}-x"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ordinary(stage: Stage) -> AsyncIterator[Outcome]:
    """What a run with nothing odd in it leaves."""
    answer = await stage.ask({**BASE, "namespaceName": fresh()}, template="a", taskId="b")
    assert answer.status_code == 202, answer.text
    outcome = await stage.outcome(answer.json())
    yield outcome
    await stage.objects.remove(outcome.run["input"]["namespaceName"])


def plain(text: str) -> bool:
    """Whether a terminal or a log would show *text* as one line and do nothing else."""
    return not any(unicodedata.category(c) in {"Cc", "Zl", "Zp"} and c != "\t" for c in text)


async def refused_fields(stage: Stage, value: str) -> set[str]:
    """The fields in which *value* is refused, each with a sentence of its own."""
    given = {**dict.fromkeys(TEXTS, value), "features": [value], f"x{value}"[:100]: 1}
    answer = await stage.ask(given, dryRun=True)
    problem = answer.json()
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == "input_invalid"
    for error in problem["errors"]:
        assert error["message"]
        assert plain(error["message"])
    assert plain(problem["detail"])
    return {error["pointer"].partition("/")[2].partition("/")[0] for error in problem["errors"]}


async def refused_context(stage: Stage, value: str) -> bool:
    """Whether *value* is refused as the name of a Backstage template and task."""
    given = {**BASE, "namespaceName": fresh()}
    answer = await stage.ask(given, dryRun=True, template=value, taskId=value)
    assert answer.status_code in {200, 400, 422}, answer.text
    if answer.status_code != 200:
        assert answer.json()["code"] in {"request_invalid", "input_invalid"}
        assert plain(answer.json()["detail"])
    return answer.status_code != 200


async def check(stage: Stage, ordinary: Outcome, value: str, fields: Iterable[str]) -> None:
    """*value* in each field: refused with a reason, or the same text wherever it goes."""
    refused = await refused_fields(stage, value)
    kept = "ordinary" if await refused_context(stage, value) else value
    assert "features" in refused
    for field in sorted({*fields} - refused):
        if value in LEGAL:
            continue
        given = {**BASE, "namespaceName": fresh(), field: value}
        answer = await stage.ask(given, template=kept, taskId=kept)
        assert answer.status_code == 202, (field, answer.text)
        outcome = await stage.outcome(answer.json())
        literal(outcome, given, kept, ordinary)
        await stage.objects.remove(given["namespaceName"])


def literal(outcome: Outcome, given: dict[str, Any], task: str, ordinary: Outcome) -> None:
    """The run did what an ordinary one does, and each text is where it belongs as it was given."""
    name, team = given["namespaceName"], EntityRef.parse(given["team"])
    metadata = outcome.namespace["metadata"]
    entity = outcome.entity["metadata"]
    changed = {
        "namespace-name": name,
        "team-name": team.name,
        "description": given["description"],
        "run-id": outcome.run["id"],
    }
    assert outcome.parameters == {**ordinary.parameters, **changed}
    assert metadata["name"] == entity["name"] == name
    assert metadata["labels"]["platform.io/team"] == team.name
    assert outcome.entity["spec"]["owner"] == str(team)
    assert metadata["annotations"]["platform.io/description"] == given["description"]
    assert entity.get("description", "") == given["description"]
    assert outcome.run["input"]["description"] == given["description"]
    for event in outcome.events:
        assert plain(event["message"])
    assert [event["seq"] for event in outcome.events] == list(range(1, len(outcome.events) + 1))
    notes = outcome.workflow["metadata"]["annotations"]
    assert {notes.get(f"bridge/{key}", "") for key in ("template", "task")} == {task}
    assert entity["annotations"].get("backstage.io/source-template", "") == task
    expected, shape = ordinary.shape, outcome.shape
    assert shape == expected


@pytest.mark.parametrize("group", GROUPS)
async def test_a_value_is_refused_or_arrives_as_it_is(stage: Stage, ordinary: Outcome, group: str):
    """Nothing that a form can hold is expanded, run or told as something else, anywhere."""
    # A name is an ordinary description.
    fields = TEXTS[:-1] if group == "names" else TEXTS
    gate = asyncio.Semaphore(AT_ONCE)

    async def wrong(value: str) -> str | None:
        async with gate:
            try:
                await check(stage, ordinary, value, fields)
            except AssertionError as error:
                return f"{value!r}: {error}"
            return None

    found = await asyncio.gather(*(wrong(value) for value in GROUPS[group]))

    assert [problem for problem in found if problem] == []


async def test_the_corpus_is_large_and_holds_all_that_was_recorded():
    """What a real Argo was seen to expand is among the values."""
    values = [value for group in GROUPS.values() for value in group]

    assert len(values) == len(set(values)) >= 330
    assert {value for group in RECORDED.values() for value in group} <= set(values)
    assert sum(len(GROUPS[group]) for group in RECORDED) >= 80
