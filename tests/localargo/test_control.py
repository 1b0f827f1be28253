"""What clients may do to a running workflow, and the texts when they may not."""

from __future__ import annotations

import json

import pytest

from bridge.localargo import control

ASK = "displayName=ask"


def waits(workflow):
    """Whether a suspend node waits."""
    nodes = workflow["status"].get("nodes", {}).values()
    return any(node["type"] == "Suspend" and node["phase"] == "Running" for node in nodes)


@pytest.fixture
async def asking(argo):
    """A workflow that waits in a suspend node with two supplied outputs."""
    await argo.create("suspend-input", "so-1")
    await argo.until("so-1", waits)
    return argo


def no_match(selector):
    """The recorded answer to a selector that matches no waiting node."""
    text = "currently, set only targets suspend nodes: no suspend nodes matching nodeFieldSelector"
    return (500, 13, f"{text}: {selector}")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (
            {"nodeFieldSelector": ASK, "outputParameters": '{"nope": "x"}'},
            (500, 13, "node is not expecting output parameter 'nope'"),
        ),
        (
            {"nodeFieldSelector": ASK, "outputParameters": {"approve": "YES"}},
            (
                400,
                3,
                (
                    "json: cannot unmarshal object into Go struct field "
                    "WorkflowSetRequest.outputParameters of type string"
                ),
            ),
        ),
        (
            {"nodeFieldSelector": ASK, "outputParameters": "nonsense"},
            (
                400,
                3,
                (
                    "unable to parse output parameter set request: invalid character 'o' in "
                    "literal null (expecting 'u')"
                ),
            ),
        ),
        (
            {"nodeFieldSelector": ASK, "outputParameters": '{"approve": 1}'},
            (
                400,
                3,
                (
                    "unable to parse output parameter set request: json: cannot unmarshal number "
                    "into Go value of type string"
                ),
            ),
        ),
        (
            {"outputParameters": '{"approve": "YES"}'},
            (
                500,
                13,
                (
                    "'set' currently only targets suspend nodes, use a node field selector to "
                    "target them"
                ),
            ),
        ),
        (
            {"nodeFieldSelector": "displayName=zzz", "outputParameters": '{"approve": "YES"}'},
            no_match("displayName=zzz"),
        ),
        (
            {"nodeFieldSelector": ASK, "phase": "Running"},
            (400, 3, "Running is an invalid phase to set to"),
        ),
        (
            {"nodeFieldSelector": "bogus", "phase": "Failed"},
            (500, 13, "invalid selector: 'bogus'; can't understand 'bogus'"),
        ),
    ],
)
async def test_sets_that_are_refused(asking, body, refusal):
    """A set that cannot be done is refused with the recorded code and text."""
    path = "/api/v1/workflows/argo-workflows/so-1/set"
    assert await asking.refused("PUT", path, body) == refusal


async def test_outputs_are_written_once(asking):
    """A supplied output is set once, any text, and the node still waits."""
    answer = await asking.put(
        "so-1",
        "set",
        nodeFieldSelector=ASK,
        outputParameters='{"approve": "MAYBE"}',
        message="approved by ann",
    )
    node = next(n for n in answer["status"]["nodes"].values() if n["type"] == "Suspend")
    assert node["phase"] == "Running"
    assert node["message"] == "approved by ann"
    assert node["outputs"]["parameters"] == [
        {"name": "approve", "value": "MAYBE"},
        {"name": "comment", "valueFrom": {"supplied": {}, "default": "no comment"}},
    ]
    path = "/api/v1/workflows/argo-workflows/so-1/set"
    body = {"nodeFieldSelector": ASK, "outputParameters": '{"approve": "YES"}'}
    assert await asking.refused("PUT", path, body) == (
        500,
        13,
        (
            "cannot set output parameter 'approve' because it does not use valueFrom.raw or it "
            "was already set"
        ),
    )


async def test_a_resume_of_all_needs_every_output(asking):
    """Without a selector a missing output refuses the resume; defaults are filled in."""
    path = "/api/v1/workflows/argo-workflows/so-1/resume"
    assert await asking.refused("PUT", path, {}) == (
        500,
        13,
        (
            "timed out waiting for the condition: raw output parameter 'approve' has not been set "
            "and does not have a default value"
        ),
    )
    await asking.put("so-1", "set", nodeFieldSelector=ASK, outputParameters='{"approve": "YES"}')
    await asking.put("so-1", "resume")
    await asking.end("so-1")
    assert "comment was no comment" in await asking.lines("so-1")


async def test_a_second_decision_is_a_500(asking):
    """Once decided, a node matches no selector any more."""
    await asking.put("so-1", "stop", nodeFieldSelector=ASK, message="rejected by carol")
    path = "/api/v1/workflows/argo-workflows/so-1/resume"
    assert await asking.refused("PUT", path, {"nodeFieldSelector": ASK}) == no_match(ASK)
    node = next(
        n for n in (await asking.end("so-1"))["status"]["nodes"].values() if n["type"] == "Suspend"
    )
    assert (node["phase"], node["message"]) == ("Failed", "rejected by carol")
    assert await asking.refused("PUT", path, {"nodeFieldSelector": ASK}) == no_match(ASK)


@pytest.mark.parametrize(
    "selector",
    [
        "id=so-1-4027464474",
        "name=so-1[0].ask",
        "templateName=ask",
        "phase=Running",
        "inputs.parameters.approve.value=NO",
        "displayName=ask,phase!=Failed",
    ],
)
async def test_nodes_are_selected_by_any_field(asking, selector):
    """A node is found by id, name, template, phase and the value of an input."""
    answer = await asking.put("so-1", "stop", nodeFieldSelector=selector, message="no")
    phases = {n["displayName"]: n["phase"] for n in answer["status"]["nodes"].values()}
    assert phases["ask"] == "Failed"


async def test_a_resume_of_nothing_says_200(argo):
    """A resume too early or too late is a success that changes nothing."""
    spec = {"workflowTemplateRef": {"name": "suspend-only"}, "arguments": {}}
    created = argo.engine.create({"name": "g-1"}, spec)
    early = control.resume(argo.engine, "g-1", selector="")  # before the controller has looked
    assert early["metadata"] == created["metadata"]
    await argo.until("g-1", waits)
    await argo.put("g-1", "resume")
    done = await argo.end("g-1")
    late = await argo.put("g-1", "resume")
    assert late["metadata"]["resourceVersion"] == done["metadata"]["resourceVersion"]


async def test_a_suspended_workflow_begins_nothing(argo):
    """`spec.suspend` keeps new nodes from starting until a resume."""
    await argo.create("two-gates", "sp-1")
    await argo.until("sp-1", waits)
    assert (await argo.put("sp-1", "suspend"))["spec"]["suspend"] is True
    version = argo.engine.log.version
    again = await argo.put("sp-1", "suspend")
    assert int(again["metadata"]["resourceVersion"]) == version
    for gate in ("gate-a", "gate-b"):
        await argo.put("sp-1", "resume", nodeFieldSelector=f"displayName={gate}")
    assert "sp-1-366532718" not in argo.engine.latest("sp-1").snapshot["status"]["nodes"]
    resumed = await argo.put("sp-1", "resume")
    assert "suspend" not in resumed["spec"]
    await argo.until("sp-1", waits)


async def test_what_has_ended_cannot_be_stopped_or_suspended(argo):
    """Stop, terminate and suspend of a completed workflow carry the recorded texts."""
    await argo.create("suspend-duration", "st-1")
    await argo.end("st-1")
    path = "/api/v1/workflows/argo-workflows/st-1"
    stopped = (
        500,
        13,
        'cannot shutdown a completed workflow: workflow: "st-1", namespace: "argo-workflows"',
    )
    assert await argo.refused("PUT", f"{path}/stop", {}) == stopped
    assert await argo.refused("PUT", f"{path}/terminate", {}) == stopped
    text = "timed out waiting for the condition: cannot suspend completed workflows"
    assert await argo.refused("PUT", f"{path}/suspend", {}) == (400, 3, text)


async def test_stopping_a_suspended_workflow_fails_its_node(argo_server):
    """A stop of a waiting workflow, also a second one, ends its node with the strategy."""
    async with argo_server(requeue_seconds=0.3) as argo:
        await argo.create("suspend-only", "ss-1")
        await argo.until("ss-1", waits)
        await argo.put("ss-1", "stop")
        await argo.put("ss-1", "stop")
        status = (await argo.end("ss-1"))["status"]
    assert status["phase"] == "Failed"
    assert status["message"] == "Stopped with strategy 'Stop'"
    assert status["nodes"]["ss-1"]["message"] == "Stopped with strategy 'Stop'"


async def test_retries_that_are_refused(argo):
    """Only failed workflows can be retried; what is not supported is named."""
    await argo.create("suspend-only", "rt-1")
    await argo.until("rt-1", waits)
    path = "/api/v1/workflows/argo-workflows/rt-1/retry"
    running = (400, 3, "Cannot retry a workflow in phase Running")
    assert await argo.refused("PUT", path, {}) == running
    await argo.put("rt-1", "resume")
    await argo.end("rt-1")
    status, _, message = await argo.refused("PUT", path, {})
    assert status == 400
    assert message.startswith("To retry a succeeded workflow, set the options restartSuccessful")
    refusal = await argo.refused("PUT", path, {"restartSuccessful": True})
    assert refusal[2] == "restartSuccessful is not supported by the embedded Argo"
    refusal = await argo.refused("PUT", path, {"nodeFieldSelector": "id=x"})
    assert refusal[2] == "nodeFieldSelector of a retry is not supported by the embedded Argo"


async def test_retry_parameters_must_be_pairs(argo):
    """A parameter without a value is the recorded 500, and nothing is reopened."""
    await argo.create("always-fails", "rt-2")
    done = await argo.end("rt-2")
    path = "/api/v1/workflows/argo-workflows/rt-2/retry"
    assert await argo.refused("PUT", path, {"parameters": ["novalue"]}) == (
        500,
        13,
        "expected parameter of the form: NAME=VALUE. Received: novalue",
    )
    latest = argo.engine.latest("rt-2").snapshot
    assert json.dumps(latest["metadata"]) == json.dumps(done["metadata"])


async def test_touching_publishes_the_workflow_again(asking):
    """The engine can publish a workflow as it is, for tests and benches."""
    before = asking.engine.latest("so-1").snapshot
    after = asking.engine.touch("so-1")
    assert after["status"] == before["status"]
    versions = [int(s["metadata"]["resourceVersion"]) for s in (before, after)]
    assert versions[1] == versions[0] + 1
