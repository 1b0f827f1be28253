"""``/v1/runs/{id}/readers/{reader}``: cursors that outlive both ends of a stream."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.making import ADMIN, bridge_for, served


async def test_a_cursor_is_remembered_and_never_goes_back():
    """A task that is taken up elsewhere shows no line twice and loses none."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        await rig.say(run_id, "a", "b", "c")
        here = f"/v1/runs/{run_id}/readers/task-1:create"
        answers = [
            await rig.http.get(here),
            await rig.http.put(here, json={"seq": 2}),
            await rig.http.put(here, json={"seq": 1}),
            await rig.http.get(here),
            await rig.http.put(here, json={"seq": 4}),
        ]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert [answer.json()["seq"] for answer in answers] == [0, 2, 2, 2, 4]
    assert all(answer.json()["reader"] == "task-1:create" for answer in answers)
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers)


async def test_a_cursor_belongs_to_who_named_it():
    """One service cannot move, or see, another's cursor of the same name."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        here = f"/v1/runs/{run_id}/readers/r"
        await rig.http.put(here, json={"seq": 1})
        seen = await rig.http.get(here, headers=ADMIN)
        await rig.http.put(here, json={"seq": 0}, headers=ADMIN)
        mine = await rig.http.get(here)
    assert (seen.json()["seq"], mine.json()["seq"]) == (0, 1)


async def test_each_run_has_cursors_of_its_own():
    """A reader that follows two runs does not mix them up."""
    async with bridge_for() as rig:
        one, two = await rig.accepted(), await rig.accepted()
        await rig.http.put(f"/v1/runs/{one}/readers/r", json={"seq": 1})
        other = await rig.http.get(f"/v1/runs/{two}/readers/r")
    assert other.json()["seq"] == 0


@pytest.mark.parametrize(
    ("sent", "reader"),
    [
        ("a%2Fb", "a/b"),
        ("a/b", "a/b"),
        ("x%20y~!%3F", "x y~!?"),
        ("a:b:c", "a:b:c"),
        ("r" * 200, "r" * 200),
    ],
)
async def test_a_name_may_have_any_printable_character(sent: str, reader: str):
    """Tasks and steps are named as Backstage names them, over a real connection too."""
    async with served() as rig:
        run_id = await rig.accepted()
        put = await rig.http.put(f"/v1/runs/{run_id}/readers/{sent}", json={"seq": 1})
        got = await rig.http.get(f"/v1/runs/{run_id}/readers/{sent}")
    assert put.json() == got.json() == {"reader": reader, "seq": 1}


@pytest.mark.parametrize("reader", ["", "r" * 201, "t%C3%A4st", "a%09b", "a%00b", "a%7F"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_name_that_cannot_be_kept_is_refused(method: str, reader: str):
    """No cursor is kept under a name that is not the caller's own."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        here = f"/v1/runs/{run_id}/readers/{reader}"
        answer = await rig.http.request(method, here, json={"seq": 1})
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


@pytest.mark.parametrize(
    "body", [{}, {"seq": -1}, {"seq": True}, {"seq": "1"}, {"seq": 1.5}, {"seq": 1, "x": 1}, 1]
)
async def test_a_cursor_is_a_number(body: Any):
    """A mistaken client is told so, instead of losing lines."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        answer = await rig.http.put(f"/v1/runs/{run_id}/readers/r", json=body)
        kept = (await rig.http.get(f"/v1/runs/{run_id}/readers/r")).json()["seq"]
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert kept == 0


@pytest.mark.parametrize("seq", [2, 10**30])
async def test_nobody_can_be_ahead_of_a_run(seq: int):
    """A cursor beyond the last event would hide the lines that are still to come."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        last = (await rig.store.run(run_id)).last_seq
        answer = await rig.http.put(f"/v1/runs/{run_id}/readers/r", json={"seq": last - 1 + seq})
    assert (answer.status_code, answer.json()["code"]) == (400, "event_id_invalid")


async def test_a_cursor_needs_a_run_and_a_body():
    """A wrong link and a missing body get a sentence each."""
    async with bridge_for() as rig:
        run_id = await rig.accepted()
        unknown = [
            await rig.http.get("/v1/runs/none/readers/r"),
            await rig.http.put("/v1/runs/none/readers/r", json={"seq": 1}),
        ]
        empty = await rig.http.put(f"/v1/runs/{run_id}/readers/r")
    assert [(a.status_code, a.json()["code"]) for a in unknown] == [(404, "run_unknown")] * 2
    assert (empty.status_code, empty.json()["code"]) == (400, "request_invalid")
