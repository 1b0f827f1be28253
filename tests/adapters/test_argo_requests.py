"""What the bridge asks of Argo: addresses, queries, bodies and headers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.adapters.argo_answers import (
    Failure,
    error_of,
    frame_failure,
    read_failure,
)
from bridge.adapters.http import token_source
from bridge.domain.errors import (
    EngineConflict,
    EngineUnavailable,
    SettingsInvalid,
    WatchExpired,
    WorkflowRejected,
)
from tests.adapters.argo import engine_for
from tests.adapters.replay import Received, Reply, exchanges, json_reply

EMPTY = json_reply({})
END = Reply(200, {"Content-Type": "text/event-stream"}, end="final chunk")


def query_of(request: Received) -> dict[str, str]:
    """The query of a request, each name once."""
    found = parse_qs(urlsplit(request.target).query, keep_blank_values=True)
    assert all(len(values) == 1 for values in found.values())
    return {name: values[0] for name, values in found.items()}


async def test_a_workflow_is_created_whole():
    """A run becomes one create under its own name, never a /submit that could not be repeated."""
    async with engine_for([EMPTY]) as rig:
        await rig.engine.create({"metadata": {"name": "wf"}, "spec": {}})
    (sent,) = rig.received
    assert (sent.method, sent.target) == ("POST", "/api/v1/workflows/argo-workflows")
    assert sent.json() == {
        "namespace": "argo-workflows",
        "workflow": {"metadata": {"name": "wf"}, "spec": {}},
    }


@pytest.mark.parametrize(("terminate", "verb"), [(False, "stop"), (True, "terminate")])
async def test_an_end_is_asked_for_by_its_own_verb(terminate: bool, verb: str):
    """Stopping rolls back, terminating does not: the two are never mixed up."""
    async with engine_for([EMPTY]) as rig:
        await rig.engine.stop("wf", terminate=terminate)
    (sent,) = rig.received
    assert (sent.method, sent.target) == ("PUT", f"/api/v1/workflows/argo-workflows/wf/{verb}")


DECISIONS = {
    "yes": (True, {}, "set", {"phase": "Succeeded"}),
    "yes with outputs": (
        True,
        {"approve": "YES", "comment": 'a "b" é'},
        "set",
        {
            "phase": "Succeeded",
            "outputParameters": '{"approve": "YES", "comment": "a \\"b\\" \\u00e9"}',
        },
    ),
    "no": (False, {"approve": "YES"}, "stop", {}),
}


@pytest.mark.parametrize(
    ("approved", "outputs", "verb", "more"), DECISIONS.values(), ids=DECISIONS.keys()
)
async def test_a_gate_is_decided_in_one_request(
    approved: bool, outputs: dict[str, str], verb: str, more: dict[str, str]
):
    """A decision is there with its reason and values or not at all, on that one gate only."""
    async with engine_for([EMPTY]) as rig:
        await rig.engine.decide(
            "wf", node_id="wf-1", approved=approved, message="by ann", outputs=outputs
        )
    (sent,) = rig.received
    assert (sent.method, sent.target) == ("PUT", f"/api/v1/workflows/argo-workflows/wf/{verb}")
    assert sent.json() == {"nodeFieldSelector": "id=wf-1", "message": "by ann", **more}


async def test_a_retry_asks_for_nothing_but_the_retry():
    """Argo runs the failed steps again with the values of the first time."""
    async with engine_for([EMPTY]) as rig:
        await rig.engine.retry("wf")
    (sent,) = rig.received
    assert (sent.method, sent.target) == ("PUT", "/api/v1/workflows/argo-workflows/wf/retry")
    assert sent.json() == {}


async def test_a_name_cannot_leave_its_place_in_the_address():
    """A name with a slash asks for that name, not for another address."""
    async with engine_for([EMPTY]) as rig:
        await rig.engine.delete("a/../b?c")
    assert rig.received[0].target == "/api/v1/workflows/argo-workflows/a%2F..%2Fb%3Fc"


async def test_a_watch_asks_for_events_of_this_bridge_only():
    """One shared watch, in the framing that has keep-alives, and with errors left readable."""
    async with engine_for([END]) as rig, rig.engine.watch(resource_version="42") as events:
        assert [event async for event in events] == []
    (sent,) = rig.received
    query = query_of(sent)
    assert urlsplit(sent.target).path == "/api/v1/workflow-events/argo-workflows"
    assert sent.headers["accept"] == "text/event-stream"
    assert query["listOptions.labelSelector"] == "bridge/instance=default"
    assert query["listOptions.resourceVersion"] == "42"
    assert query["listOptions.allowWatchBookmarks"] == "true"
    fields = query["fields"].split(",")
    assert {"error", "result.type", "result.object.status.nodes"} <= set(fields)
    assert "storedTemplates" not in query["fields"]


async def test_a_watch_without_a_position_starts_with_what_is_there():
    """After an expired position the bridge sees every workflow again."""
    async with engine_for([END]) as rig, rig.engine.watch(resource_version="") as events:
        assert [event async for event in events] == []
    assert "listOptions.resourceVersion" not in query_of(rig.received[0])


@pytest.mark.parametrize(("tail", "lines"), [(None, None), (20, "20")])
async def test_a_log_is_asked_for_with_times(tail: int | None, lines: str | None):
    """Lines carry the times by which none is shown twice after a break."""
    async with (
        engine_for([END]) as rig,
        rig.engine.logs("wf", pod="wf-step-1", follow=tail is None, tail=tail) as found,
    ):
        assert [batch async for batch in found] == []
    (sent,) = rig.received
    query = query_of(sent)
    assert urlsplit(sent.target).path == "/api/v1/workflows/argo-workflows/wf/log"
    assert query["podName"] == "wf-step-1"
    assert query["logOptions.container"] == "main"
    assert query["logOptions.timestamps"] == "true"
    assert query["logOptions.follow"] == ("true" if tail is None else "false")
    assert query.get("logOptions.tailLines") == lines


async def test_a_list_goes_on_past_a_full_page():
    """With many open runs none is missed, although Argo does not say that a page has a next."""
    pages = [
        e.reply for e in exchanges("list-workflows") if "listOptions.limit=2" in e.raw["request"]
    ]
    async with engine_for(pages, page=2) as rig:
        found = await rig.engine.listing()
    assert [s.name for s in found.snapshots] == ["list-5", "list-4", "list-3", "list-2", "list-1"]
    assert found.resource_version == "24711"
    offsets = [query_of(sent).get("listOptions.continue") for sent in rig.received]
    assert offsets == [None, "2", "4"]


async def test_a_list_follows_the_continuation_that_argo_tells():
    """Servers that do name the next page are asked for that one, and an empty page is the end."""
    item = {"metadata": {"name": "a"}}
    pages = [
        json_reply({"metadata": {"resourceVersion": "7", "continue": "99"}, "items": [item]}),
        json_reply({"metadata": {"resourceVersion": "8", "continue": "99"}, "items": None}),
    ]
    async with engine_for(pages) as rig:
        found = await rig.engine.listing()
    assert (len(found.snapshots), found.resource_version) == (1, "7")
    assert query_of(rig.received[1])["listOptions.continue"] == "99"


async def test_a_rotated_token_is_used_at_once(tmp_path: Path):
    """Argo's token may change while the bridge runs; nobody has to restart it."""
    file = tmp_path / "token"
    file.write_text("first\n")
    async with engine_for([EMPTY], token=token_source(value=None, file=file)) as rig:
        await rig.engine.ping()
        file.write_text("second\n")
        await rig.engine.ping()
    sent = [request.headers["authorization"] for request in rig.received]
    assert sent == ["Bearer first", "Bearer second"]


async def test_an_unreadable_token_file_is_named(tmp_path: Path):
    """An operator reads which file is missing instead of a stack trace."""
    token = token_source(value=None, file=tmp_path / "missing")
    with pytest.raises(SettingsInvalid, match=r"missing cannot be read"):
        token()


def test_a_workflow_is_linked_in_the_ui():
    """People get from a run to its workflow with one click."""

    async def link() -> tuple[str | None, str | None]:
        async with engine_for([EMPTY]) as rig:
            return rig.engine.url("wf", uid=None), rig.engine.url("wf", uid="u 1")

    assert asyncio.run(link()) == (
        "https://argo.example/ui/workflows/argo-workflows/wf",
        "https://argo.example/ui/workflows/argo-workflows/wf?uid=u%201",
    )


# --- answers in the texts of calls that the bridge does not make ------------------------------


def test_a_conflict_is_tried_again():
    """A workflow that Argo was just writing is asked once more (texts of retry and resume)."""
    modified = (
        'Operation cannot be fulfilled on workflows.argoproj.io "wf": the object has been '
        "modified; please apply your changes to the latest version and try again"
    )
    assert isinstance(error_of("control", Failure(409, modified)), EngineConflict)
    waited = Failure(403, "timed out waiting for the condition: forbidden")
    assert isinstance(error_of("control", waited), EngineConflict)


def test_outputs_that_the_gate_does_not_have_are_refused():
    """A decision that Argo will never take is told as such (texts of its workflow/util)."""
    failure = Failure(500, "node is not expecting output parameter 'nope'")
    assert isinstance(error_of("control", failure), WorkflowRejected)


def test_a_position_from_the_future_starts_over():
    """After Argo's cluster was restored from a backup the bridge follows again."""
    failure = Failure(504, "Timeout: Too large resource version: 999999999, current: 24682")
    assert isinstance(error_of("watch", failure), WatchExpired)


@pytest.mark.parametrize("frame", [[], 1, None, "text", {}])
def test_a_frame_that_says_nothing_is_a_failure(frame: object):
    """Whatever a proxy puts into a stream, it is never taken for an event."""
    assert frame_failure(frame) is not None


def test_a_page_in_place_of_argo_is_explained():
    """A login page before Argo leads to a sentence that says what to look at."""
    failure = read_failure(502, headers={"content-type": "text/html"}, body=b"<html>\xff")
    assert "a web page in place of Argo" in error_of("get", failure).detail
    assert "ARGO_WORKFLOWS_URL" in error_of("get", failure).detail


@pytest.mark.parametrize("body", [b"[1]", b"null", b'"x"'])
async def test_json_that_is_no_object_is_unavailable(body: bytes):
    """An answer of another program is not mistaken for a workflow."""
    async with engine_for([Reply(200, {"Content-Type": "application/json"}, body)]) as rig:
        with pytest.raises(EngineUnavailable, match="not an object"):
            await rig.engine.get("wf")


async def test_garbage_in_a_stream_is_unavailable():
    """A broken stream is opened again; it does not break the bridge."""
    garbage = Reply(200, {}, chunks=(b"data: {\n\n",), end="final chunk")
    async with engine_for([garbage]) as rig, rig.engine.watch(resource_version="") as events:
        with pytest.raises(EngineUnavailable, match="cannot be read"):
            _ = [event async for event in events]
