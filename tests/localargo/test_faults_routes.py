"""The admin routes themselves: off by default, what they refuse, the record."""

from __future__ import annotations

import pytest

from bridge.localargo.command import _parser, _settings
from tests.localargo.reading import WORKFLOWS, put, suspended


async def test_without_the_setting_there_are_no_faults(argo):
    """The routes are answered as any unknown path, and nothing is recorded."""
    unknown = await argo.http.get("/nothing")
    for method, path in [("GET", "/faults"), ("PUT", "/faults"), ("GET", "/faults/record")]:
        answer = await argo.http.request(method, path)
        assert (answer.status_code, answer.text) == (unknown.status_code, unknown.text)
    assert argo.faults is None


def test_the_command_has_an_option_for_it():
    """`--faults` asks for the routes; without it there are none."""
    assert _settings(_parser().parse_args(["--faults"])).faults is True
    assert _settings(_parser().parse_args([])).faults is False


async def test_the_token_is_asked_for(argo_server):
    """Who may not call the API may not make it fail either."""
    async with argo_server(faults=True, token="t") as argo:
        assert (await argo.http.put("/faults", json={})).status_code == 401
        headers = {"Authorization": "Bearer t"}
        assert (await argo.http.put("/faults", json={}, headers=headers)).status_code == 200


async def test_what_is_in_force_is_shown_as_it_was_put(faulty):
    """GET answers the rules as they were put, and how often each was applied."""
    plan = {
        "seed": 3,
        "unary": [{"route": "info", "fault": "html"}, {"fault": "html", "times": 0}],
        "streams": [{"fault": "rotate", "seconds": [1.0, 2.0]}],
        "workflows": [{"fault": "vanish"}],
    }
    empty = {"unary": [0, 0], "streams": [0], "workflows": [0], "now": {}}
    nothing = {"open": {"watch": 0, "log": 0}, "waiting": 0}
    assert await put(faulty, **plan) == {"faults": plan, "applied": empty, **nothing}
    await faulty.http.get("/api/v1/info")
    counted = {"faults": plan, "applied": {**empty, "unary": [1, 0]}, **nothing}
    assert await faulty.call("GET", "/faults") == counted == faulty.faults.state()
    cleared = await put(faulty)
    assert cleared["faults"] == {}
    assert cleared["applied"] == {"unary": [], "streams": [], "workflows": [], "now": {}}


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/faults", {"unary": [{"fault": "explode"}]}, "unary.0.fault: "),
        ("/faults", {"unary": [{"route": "nowhere", "fault": "html"}]}, "unary.0.route"),
        ("/faults", {"streams": [{"fault": "cut", "event": 1}]}, "streams.0.event: "),
        ("/faults", {"workflows": [{"fault": "vanish", "chance": 2}]}, "workflows.0.chance: "),
        ("/faults", {"faults": []}, "faults: "),
        ("/faults/now", {"do": "explode"}, "do: "),
    ],
)
async def test_what_cannot_be_read_changes_nothing(faulty, path, body, where):
    """A wrong body is refused with the place of the mistake; what was in force stays."""
    await put(faulty, unary=[{"fault": "html", "route": "info"}])
    method = "PUT" if path == "/faults" else "POST"
    status, code, message = await faulty.refused(method, path, body)
    assert (status, code) == (400, 3)
    assert message.startswith(where)
    assert (await faulty.http.get("/api/v1/info")).status_code == 502


async def test_the_record_keeps_what_was_done(faulty):
    """Every call with an effect, with the labels of its workflow, also when that is gone."""
    created = await suspended(faulty, "w", run="7")
    await faulty.put("w", "resume")
    await faulty.end("w")
    await faulty.put("w", "resume")  # of nothing
    await faulty.http.put(f"{WORKFLOWS}/w/stop", json={})  # refused
    await faulty.call("DELETE", f"{WORKFLOWS}/w")
    spec = {"workflowTemplateRef": {"name": "suspend-only"}}
    dry = {"workflow": {"metadata": {"name": "dry"}, "spec": spec}, "serverDryRun": True}
    await faulty.call("POST", WORKFLOWS, dry)
    await put(faulty)
    calls = (await faulty.call("GET", "/faults/record"))["calls"]
    assert [(call["call"], call["changed"]) for call in calls] == [
        ("create", True),
        ("resume", True),
        ("resume", False),
        ("delete", True),
    ]
    assert {call["uid"] for call in calls} == {created["metadata"]["uid"]}
    assert {call["labels"]["run"] for call in calls} == {"7"}
    times = [call["at"] for call in calls]
    assert times == sorted(times)
    assert set(calls[0]) == {"at", "call", "name", "uid", "labels", "changed"}
