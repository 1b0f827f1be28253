"""Faults of calls with one answer: what the client sees, and what was really done."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.localargo.reading import WORKFLOWS, put, recorded, suspended, until

BODY = {
    "workflow": {
        "metadata": {"name": "w", "labels": {"run": "1"}},
        "spec": {"workflowTemplateRef": {"name": "suspend-only"}},
    }
}


def done(argo):
    """What the record says was carried out."""
    return [(call.call, call.name, call.changed) for call in argo.faults.record.calls()]


async def test_cut_before_does_nothing(faulty):
    """The connection closes without an answer, once; the same call is carried out later."""
    await put(faulty, unary=[{"route": "create", "fault": "cut-before", "times": 1}])
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await faulty.http.post(WORKFLOWS, json=BODY)
    assert done(faulty) == []
    await faulty.call("POST", WORKFLOWS, BODY)
    assert done(faulty) == [("create", "w", True)]


async def test_cut_after_has_done_it(faulty):
    """The connection closes without an answer, but the workflow exists."""
    await put(faulty, unary=[{"route": "create", "fault": "cut-after", "times": 1}])
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await faulty.http.post(WORKFLOWS, json=BODY)
    assert done(faulty) == [("create", "w", True)]
    refusal = await faulty.refused("POST", WORKFLOWS, BODY)
    assert refusal == (409, 6, 'workflows.argoproj.io "w" already exists')


@pytest.mark.parametrize(
    ("metadata", "also"),
    [
        ({"name": "create-1"}, ""),
        (
            {"name": "create-1", "generateName": "x-"},
            ", the server was not able to generate a unique name for the object",
        ),
    ],
)
async def test_exists_is_as_recorded(faulty, metadata, also):
    """A create is told that the name is taken, though it is not."""
    await put(faulty, unary=[{"fault": "exists", "route": ["create", "get"]}])
    body = {"workflow": {**BODY["workflow"], "metadata": metadata}}
    answer = await faulty.http.post(WORKFLOWS, json=body)
    real = recorded("create-workflow", status=409)["body"]
    text = real.replace("already exists", f"already exists{also}")
    assert (answer.status_code, answer.text) == (409, text)
    assert done(faulty) == []


async def test_modified_is_the_other_409(faulty):
    """An action meets another writer and is not carried out."""
    await suspended(faulty, "w")
    await put(faulty, unary=[{"fault": "modified", "route": "stop"}])
    assert await faulty.refused("PUT", f"{WORKFLOWS}/w/stop", {}) == (
        409,
        6,
        (
            'Operation cannot be fulfilled on workflows.argoproj.io "w": the object has been '
            "modified; please apply your changes to the latest version and try again"
        ),
    )
    assert "shutdown" not in faulty.engine.latest("w").snapshot["spec"]


async def test_rate_limit_is_as_recorded(faulty):
    """Plain text, and a date that HTTP does not know; a proxy sends a number instead."""
    real = recorded("rate-limit", call="get")
    await put(faulty, unary=[{"fault": "rate-limit", "times": 1}])
    answer = await faulty.http.get("/api/v1/version")
    assert answer.status_code == real["status"]
    assert answer.text == real["body"]
    assert answer.headers["content-type"] == real["headers"]["Content-Type"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    wait = answer.headers["retry-after"]
    assert wait[-4:] == real["headers"]["Retry-After"][-4:] == " UTC"
    assert len(wait) == len(real["headers"]["Retry-After"])
    await put(faulty, unary=[{"fault": "rate-limit", "retry_after": 3}])
    answer = await faulty.http.get(WORKFLOWS)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


async def test_unavailable_is_as_recorded(faulty):
    """While Argo Server starts: 503 in plain JSON."""
    real = recorded("watch-server-restart", status=503, call="get")
    await put(faulty, unary=[{"fault": "unavailable", "retry_after": 1}])
    answer = await faulty.http.get(f"{WORKFLOWS}/w")
    assert answer.status_code == 503
    assert answer.text.replace("2746", "2749") == real["body"]
    assert answer.headers["content-type"] == real["headers"]["Content-Type"]
    assert answer.headers["retry-after"] == "1"


async def test_internal_and_html_are_no_answers_of_the_workflow(faulty):
    """A 500 has the text that was asked for, a proxy answers with a page."""
    await put(
        faulty,
        unary=[
            {"fault": "internal", "message": "boom", "times": 1},
            {"fault": "html", "times": 1},
        ],
    )
    assert await faulty.refused("GET", f"{WORKFLOWS}/w") == (500, 13, "boom")
    answer = await faulty.http.get(f"{WORKFLOWS}/w")
    assert answer.status_code == 502
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<html>")


async def test_an_answer_can_be_wrong_about_what_was_done(faulty):
    """With `applied` the call is carried out, whatever the answer says."""
    await put(faulty, unary=[{"fault": "html", "route": "create", "applied": True}])
    assert (await faulty.http.post(WORKFLOWS, json=BODY)).status_code == 502
    assert done(faulty) == [("create", "w", True)]


async def test_ignore_says_200_and_does_nothing(faulty):
    """A resume succeeds, the node still waits, and the record has nothing of it."""
    await suspended(faulty, "w")
    before = faulty.engine.latest("w").snapshot
    await put(faulty, unary=[{"fault": "ignore"}])
    assert (await faulty.put("w", "resume"))["metadata"] == before["metadata"]
    assert done(faulty) == [("create", "w", True)]
    assert await faulty.refused("PUT", f"{WORKFLOWS}/no/stop", {}) == (
        404,
        5,
        'workflows.argoproj.io "no" not found',
    )
    assert faulty.faults.state()["applied"]["unary"] == [2]


async def test_stale_lists_lag_behind(faulty):
    """A list shows the workflows as they were, with the version of then, for a watch to go on."""
    await suspended(faulty, "old")
    version = faulty.engine.log.version
    await faulty.put("old", "suspend")
    await suspended(faulty, "gone")
    await faulty.call("DELETE", f"{WORKFLOWS}/gone")
    changes = faulty.engine.log.version - version
    await put(faulty, unary=[{"fault": "stale", "behind": changes, "times": 1}])
    stale = await faulty.call("GET", WORKFLOWS)
    assert stale["metadata"]["resourceVersion"] == str(version)
    assert [item["metadata"]["resourceVersion"] for item in stale["items"]] == [str(version)]
    assert "suspend" not in stale["items"][0]["spec"]
    fresh = await faulty.call("GET", WORKFLOWS)
    assert fresh["items"][0]["spec"]["suspend"] is True
    await put(faulty, unary=[{"fault": "stale", "behind": 1, "times": 1}])
    found = await faulty.call("GET", WORKFLOWS)
    assert {item["metadata"]["name"] for item in found["items"]} == {"old", "gone"}
    version = faulty.engine.log.version
    await suspended(faulty, "gone")  # the name once more
    changes = faulty.engine.log.version - version
    await put(faulty, unary=[{"fault": "stale", "behind": changes, "times": 1}])
    found = await faulty.call("GET", WORKFLOWS)
    assert [item["metadata"]["name"] for item in found["items"]] == ["old"]


async def test_delayed_calls_are_carried_out_without_their_client(faulty):
    """Who does not wait for a late answer has sent the call all the same."""
    await put(faulty, unary=[{"fault": "delay", "route": "create", "seconds": 0.5}])
    calling = asyncio.ensure_future(faulty.http.post(WORKFLOWS, json=BODY))
    await until(faulty, lambda state: state["applied"]["unary"] == [1])
    calling.cancel()
    assert done(faulty) == []
    await faulty.until("w", lambda _: True)
    assert done(faulty) == [("create", "w", True)]


async def test_delayed_answers_are_late_only(faulty):
    """With `applied` the workflow exists before its client is told."""
    plan = {"fault": "delay", "route": "create", "seconds": [0.2, 0.2], "applied": True}
    await put(faulty, unary=[plan])
    calling = asyncio.ensure_future(faulty.call("POST", WORKFLOWS, BODY))
    await until(faulty, lambda state: state["applied"]["unary"] == [1])
    assert faulty.engine.find("w") is not None
    assert not calling.done()
    assert (await calling)["metadata"]["name"] == "w"


async def test_rules_are_tried_in_their_order(faulty):
    """The first that applies wins; `skip` and `times` count the matches of each rule."""
    rules = [
        {"route": "get", "fault": "internal", "message": "a", "skip": 1, "times": 1},
        {"route": ["get", "list"], "fault": "internal", "message": "b", "times": 1},
    ]
    await put(faulty, unary=rules)
    answers = [await faulty.http.get(f"{WORKFLOWS}/w") for _ in range(3)]
    assert [answer.json()["message"][:1] for answer in answers] == ["b", "a", "w"]
    assert faulty.faults.state()["applied"]["unary"] == [1, 1]


async def test_the_same_seed_gives_the_same_faults(faulty):
    """A run that failed can be replayed; another seed gives another run."""

    async def statuses(**plan):
        await put(faulty, unary=[{"fault": "html", "chance": 0.5}], **plan)
        return [(await faulty.http.get("/api/v1/info")).status_code for _ in range(24)]

    first = await statuses(seed=1)
    assert set(first) == {200, 502}
    assert await statuses(seed=1) == first
    assert await statuses(seed=2) != first
