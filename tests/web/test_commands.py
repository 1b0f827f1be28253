"""Cancel, terminate, approve and reject: what the caller is told, and told only once."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from bridge.domain.runs import RunStatus
from tests.web.making import (
    ADMIN,
    APPROVER,
    GUARDED,
    JSON,
    SERVICE_TOKEN,
    Rig,
    bridge_for,
    settings_for,
    until,
)

VERBS = ("cancel", "terminate", "approve", "reject", "retry")


def guarded():
    """A bridge whose ``thing:make`` is approved by two services, but not by who asked."""
    return bridge_for(settings_for(actions=GUARDED))


async def post(rig: Rig, run_id: str, verb: str, **sent: Any) -> httpx.Response:
    """One command."""
    return await rig.http.post(f"/v1/runs/{run_id}/{verb}", **sent)


async def told(rig: Rig, run_id: str) -> list[str]:
    """The lines of a run."""
    page = (await rig.http.get(f"/v1/runs/{run_id}/events")).json()
    return [event["message"] for event in page["events"]]


async def commands(rig: Rig, run_id: str) -> list[dict[str, Any]]:
    """What was asked of a run."""
    found: list[dict[str, Any]] = (await rig.http.get(f"/v1/runs/{run_id}")).json()["commands"]
    return found


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem."""
    return answer.status_code, answer.json()["code"]


# --- ending -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("cancel", "cancel requested by service:tester: wrong team"),
        ("terminate", "termination requested by service:tester: wrong team"),
    ],
)
async def test_ending_a_run_is_idempotent_and_over_with_the_run(verb: str, line: str):
    """The button can be pressed twice; on a finished run it changes nothing."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        first = await post(rig, run_id, verb, json={"reason": "wrong team"})
        second = await post(rig, run_id, verb)
        (command,) = await commands(rig, run_id)
        await rig.end(run_id, status=RunStatus.CANCELLED)
        after = await post(rig, run_id, verb)
        lines = await told(rig, run_id)
    assert (first.status_code, second.status_code, after.status_code) == (202, 202, 200)
    assert first.headers["cache-control"] == "no-store"
    assert first.json()["id"] == run_id
    assert after.json()["status"] == "cancelled"
    assert lines.count(line) == 1
    assert [word for word in lines if "requested by" in word] == [line]
    assert command == {
        "verb": verb,
        "by": "service:tester",
        "at": command["at"],
        "reason": "wrong team",
        "outcome": None,
    }


async def test_termination_is_a_second_step_after_a_cancel():
    """When a rollback hangs, the run can still be ended by force, and both are on record."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        await post(rig, run_id, "cancel")
        forced = await post(rig, run_id, "terminate")
        asked = await commands(rig, run_id)
    assert forced.status_code == 202
    assert [command["verb"] for command in asked] == ["cancel", "terminate"]


# --- deciding ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "word", "phase"),
    [("approve", "approved", "Succeeded"), ("reject", "rejected", "Failed")],
)
async def test_a_decision_is_under_way_until_it_is_done(verb: str, word: str, phase: str):
    """The approver sees 202 while Argo is told and 200 afterwards; the run shows who and why."""
    async with guarded() as rig:
        run = await rig.waiting()
        sent = {"json": {"reason": "as agreed"}, "headers": APPROVER}
        first = await post(rig, run.id, verb, **sent)
        again = await post(rig, run.id, verb, **sent)
        (under_way,) = await commands(rig, run.id)
        rig.engine.decided.set()

        async def settled() -> bool:
            return all(command["outcome"] for command in await commands(rig, run.id))

        await until(settled)
        after = await post(rig, run.id, verb, **sent)
        (done,) = await commands(rig, run.id)
        lines = await told(rig, run.id)
    assert (first.status_code, again.status_code, after.status_code) == (202, 202, 200)
    assert under_way["outcome"] is None
    assert done == {**under_way, "outcome": "done"}
    assert (done["verb"], done["by"], done["reason"]) == (verb, "service:approver", "as agreed")
    assert lines.count(f"{word} by service:approver: as agreed") == 1
    gate = rig.engine.workflows[run.workflow_name]["status"]["nodes"]["gate"]
    assert gate["phase"] == phase


async def test_a_decision_repeated_after_the_end_is_the_same_decision():
    """A retried click after the run has ended is told how it ended, not that it was wrong."""
    async with guarded() as rig:
        run = await rig.waiting()
        await post(rig, run.id, "reject", headers=APPROVER)
        await rig.end(run.id)
        again = await post(rig, run.id, "reject", headers=APPROVER)
    assert (again.status_code, again.json()["status"]) == (200, "failed")


async def test_a_second_decision_reads_of_the_first():
    """Who comes too late is told who decided what, and changes nothing."""
    async with guarded() as rig:
        run = await rig.waiting()
        await post(rig, run.id, "approve", json={"reason": "fine"}, headers=APPROVER)
        other = await post(rig, run.id, "reject", headers=APPROVER)
        rig.engine.decided.set()
        asked = await commands(rig, run.id)
    assert code(other) == (409, "already_decided")
    assert other.json()["detail"] == "It was approved by service:approver already: fine."
    assert [command["verb"] for command in asked] == ["approve"]


@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_nobody_waits_for_a_decision(verb: str):
    """A decision on a run that asks for none says so."""
    async with guarded() as rig:
        run_id = await rig.accepted()
        before = await post(rig, run_id, verb, headers=APPROVER)
        await rig.end(run_id)
        after = await post(rig, run_id, verb, headers=APPROVER)
    assert code(before) == code(after) == (409, "not_waiting")


@pytest.mark.parametrize("verb", ["approve", "reject"])
@pytest.mark.parametrize(
    ("headers", "sentence"),
    [({}, "Whoever asked for a run cannot decide on it"), (ADMIN, "The approval is for")],
)
async def test_who_may_not_decide_is_refused(verb: str, headers: dict[str, str], sentence: str):
    """Neither the requester nor an admin can decide, and the attempt is on record."""
    async with guarded() as rig:
        run = await rig.waiting()
        refused = await post(rig, run.id, verb, headers=headers)
        asked = await commands(rig, run.id)
        query = {"action": f"run.{verb}"}
        trail = (await rig.http.get("/v1/audit", params=query, headers=ADMIN)).json()
    assert code(refused) == (403, "forbidden")
    assert sentence in refused.json()["detail"]
    assert asked == []
    assert [record["outcome"] for record in trail["records"]] == ["forbidden"]


async def test_an_approver_fills_in_what_is_asked():
    """What the approver enters reaches the workflow; what is left out has its default."""
    for inputs, expected in (({"size": "large"}, "large"), ({}, "small")):
        async with guarded() as rig:
            run = await rig.waiting()
            rig.engine.decided.set()
            body = {"inputs": inputs}
            answer = await post(rig, run.id, "approve", json=body, headers=APPROVER)

            async def supplied(rig: Rig = rig) -> bool:
                return bool(rig.engine.supplied)

            await until(supplied)
            assert answer.status_code in {200, 202}
            assert rig.engine.supplied == {"size": expected}


@pytest.mark.parametrize("inputs", [{"size": "x" * 11}, {"other": "x"}, {"size": "{{x}}"}])
async def test_what_an_approver_may_not_enter_is_refused(inputs: dict[str, str]):
    """A wrong value is named at its field, and the run goes on waiting."""
    async with guarded() as rig:
        run = await rig.waiting()
        answer = await post(rig, run.id, "approve", json={"inputs": inputs}, headers=APPROVER)
        asked = await commands(rig, run.id)
    assert code(answer) == (422, "input_invalid")
    assert [e["pointer"].rpartition("/")[2] for e in answer.json()["errors"]] == list(inputs)
    assert asked == []


# --- what all share ---------------------------------------------------------------------------

WRONG: list[tuple[Any, str]] = [
    ({"reason": "x" * 501}, "/reason"),
    ({"reason": "two\nlines"}, "/reason"),
    ({"reason": "two\u2028lines"}, "/reason"),
    ({"reason": "a\ttab"}, "/reason"),
    ({"reason": "\u001b[31mred"}, "/reason"),
    ({"reason": "nul\u0000"}, "/reason"),
    ({"reason": "half \ud800"}, "/reason"),
    ({"reason": "{{=workflow.uid}}"}, "/reason"),
    ({"reason": 7}, "/reason"),
    ({"user": "user:default/admin"}, "/user"),
    (["reason"], ""),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("body", "pointer"), WRONG, ids=range(len(WRONG)))
async def test_a_body_that_cannot_be_kept_is_refused(verb: str, body: Any, pointer: str):
    """A reason is one readable line; anything else is named, and nothing is done."""
    async with guarded() as rig:
        run = await rig.waiting()
        answer = await post(
            rig, run.id, verb, content=json.dumps(body), headers={**APPROVER, **JSON}
        )
        asked = await commands(rig, run.id)
    assert code(answer) == (400, "request_invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert not any(error["message"].startswith("Value") for error in answer.json()["errors"])
    assert asked == []


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("approve", {"inputs": []}),
        ("approve", {"inputs": None}),
        ("reject", {"inputs": {}}),
        ("retry", {"mode": "again"}),
        ("cancel", {"mode": "attempt"}),
    ],
)
async def test_each_command_takes_its_own_fields_only(verb: str, body: dict[str, Any]):
    """A field that means nothing to a command is not ignored."""
    async with guarded() as rig:
        run = await rig.waiting()
        answer = await post(rig, run.id, verb, json=body, headers=APPROVER)
    assert code(answer) == (400, "request_invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{next(iter(body))}"]


@pytest.mark.parametrize("verb", VERBS)
async def test_a_command_on_no_run_is_refused(verb: str):
    """A wrong link gets a sentence."""
    async with bridge_for() as rig:
        unknown = await post(rig, "none", verb)
        odd = await post(rig, "a%00b", verb)
    assert code(unknown) == (404, "run_unknown")
    assert code(odd) == (400, "request_invalid")


@pytest.mark.parametrize("verb", VERBS)
async def test_a_body_that_is_not_json_is_refused(verb: str):
    """A broken body is not taken for none."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        answer = await post(rig, run_id, verb, content=b"reason=x", headers=JSON)
    assert code(answer) == (400, "request_invalid")


async def test_a_reason_of_many_scripts_is_kept_as_it_is():
    """People give reasons in their own language, with braces and without harm."""
    reason = "раз, " + "é" * 480 + " {ok} 🎉"
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        answer = await post(rig, run_id, "cancel", json={"reason": f"  {reason}  "})
        (command,) = await commands(rig, run_id)
    assert answer.status_code == 202
    assert command["reason"] == reason
    assert SERVICE_TOKEN not in answer.text
