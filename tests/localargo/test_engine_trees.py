"""The trees of nodes against those that a real Argo wrote for the same templates."""

from __future__ import annotations

import asyncio
import json

import pytest

PROVISIONING = {"callback_url": "http://bridge.platform.svc:8080/callbacks/argo"}


def same(actual, recorded):
    """Compare node by node, so that a difference names its node."""
    for id_, node in recorded["nodes"].items():
        assert actual["nodes"].get(id_) == node
    assert actual["nodes"].keys() == recorded["nodes"].keys()
    for key in ("phase", "message", "progress"):
        assert actual[key] == recorded[key]


def patched(recorded, *, uid):
    """The recorded tree with the uid that this run's namespace has."""
    text = json.dumps(recorded)
    for node in recorded["nodes"].values():
        for parameter in node.get("outputs", {}).get("parameters", []):
            if parameter["name"] == "namespace-uid" and "value" in parameter:
                text = text.replace(parameter["value"], uid)
    return json.loads(text)


async def test_provisioning_succeeds(argo, trees, stable):
    """A whole provisioning run, with parallel steps, a DAG, fan-out, retry and exit handler."""
    await argo.create(
        "namespace-provisioning",
        "prov-ok",
        namespace_name="team-a-dev",
        team_name="team-a",
        resource_tier="medium",
        network_policy="team-shared",
        features='["monitoring","backup","service-mesh"]',
        requested_by="user:default/ann",
        request_id="req-0001",
        **PROVISIONING,
    )
    workflow = await argo.end("prov-ok")
    outputs = {p["name"]: p["value"] for p in workflow["status"]["outputs"]["parameters"]}
    same(stable(workflow), patched(trees["provisioning-ok"], uid=outputs["namespace-uid"]))
    assert outputs["namespace"] == "team-a-dev"
    made = {item["kind"] for item in argo.objects.list(namespace="team-a-dev")}
    assert {"ResourceQuota", "LimitRange", "Role", "RoleBinding", "NetworkPolicy"} < made
    assert workflow["metadata"]["labels"]["platform.example.com/namespace"] == "team-a-dev"
    assert workflow["status"]["conditions"] == trees["provisioning-ok"]["conditions"]


async def test_provisioning_rolls_back(argo, trees, stable):
    """A step that fails lets the exit handler run, and the workflow fails with the cause."""
    await argo.create(
        "namespace-provisioning",
        "prov-fail",
        namespace_name="team-d-dev",
        team_name="team-d",
        features='["monitoring"]',
        inject_failure="register",
        **PROVISIONING,
    )
    workflow = await argo.end("prov-fail")
    uid = workflow["status"]["outputs"]["parameters"][0]["value"]
    same(stable(workflow), patched(trees["provisioning-register-fails"], uid=uid))
    names = {item["metadata"]["name"] for item in argo.objects.list("Namespace")}
    assert "team-d-dev" not in names
    failures = next(line for line in await argo.lines("prov-fail") if line.startswith("failures"))
    listed = json.loads(json.loads(failures.removeprefix("failures: ")))
    assert [item["displayName"] for item in listed] == [
        "[6]",
        "prov-fail",
        "register",
        "reserve(0)",
    ]
    assert listed[2]["podName"] == "prov-fail-register-454940426"
    assert listed[2]["message"] == "main: Error (exit code 4)"


async def test_provisioning_refuses_a_bad_name(argo, trees, stable):
    """A failure in the first step leaves the later ones out of the tree."""
    await argo.create(
        "namespace-provisioning", "prov-val", namespace_name="Team_E", team_name="team-e"
    )
    same(stable(await argo.end("prov-val")), trees["provisioning-validate-fails"])


async def test_production_waits_and_is_approved(argo, trees, stable):
    """A production request waits in a suspend node until it is approved."""
    await create_production(argo, "prov-prod", "team-b-prod")
    waiting = await argo.until("prov-prod", is_waiting)
    same(stable(waiting), trees["provisioning-waits"])
    selector = "displayName=approval"
    await argo.put(
        "prov-prod",
        "set",
        nodeFieldSelector=selector,
        outputParameters='{"approve": "YES"}',
        message="approved by user:default/boss",
    )
    await argo.put("prov-prod", "resume", nodeFieldSelector=selector)
    workflow = await argo.end("prov-prod")
    uid = workflow["status"]["outputs"]["parameters"][0]["value"]
    same(stable(workflow), patched(trees["provisioning-approved"], uid=uid))


async def test_production_is_rejected(argo, trees, stable):
    """A rejection fails the node with its message, and the exit handler runs."""
    await create_production(argo, "prov-rej", "team-c-prod")
    await argo.until("prov-rej", is_waiting)
    await argo.put(
        "prov-rej",
        "stop",
        nodeFieldSelector="displayName=approval",
        message="rejected by user:default/boss",
    )
    same(stable(await argo.end("prov-rej")), trees["provisioning-rejected"])


async def create_production(argo, name, namespace):
    """Create a request for a production namespace."""
    await argo.create(
        "namespace-provisioning",
        name,
        namespace_name=namespace,
        team_name="team-b",
        environment="production",
        resource_tier="large",
        features="[]",
        request_id=name,
    )


def is_waiting(workflow):
    """Whether a suspend node of the workflow waits."""
    nodes = workflow["status"].get("nodes", {}).values()
    return any(node["type"] == "Suspend" and node["phase"] == "Running" for node in nodes)


@pytest.mark.parametrize(
    "case",
    [
        ("dag-fanout", "fo-1", {}, "dag-fanout"),
        ("dag-fanout", "fo-2", {"items": "[]"}, "dag-fanout-empty"),
        ("dag-fanout", "f-params", {"items": "not json"}, "dag-fanout-not-json"),
        (
            "dag-fanout",
            "fo-3",
            {"items": '[{"a": 1}, "x y/z", 3, null, "\\u00fcn\\u00ef", "q\\"uote"]'},
            "dag-fanout-odd",
        ),
        ("always-fails", "f-fail", {}, "always-fails"),
        ("deadline", "f-dead", {}, "deadline"),
        ("fail-retry-exit", "rt-1", {"always": "true"}, "fail-retry-exit"),
    ],
)
async def test_trees_are_those_of_a_real_argo(argo, trees, stable, case):
    """Fan-out, retries, deadlines and failures leave the nodes that a real Argo leaves."""
    template, name, parameters, recorded = case
    await argo.create(template, name, **parameters)
    same(stable(await argo.end(name)), trees[recorded])


async def test_two_gates(argo, trees, stable):
    """Tasks that wait side by side; the last one hangs on both."""
    await argo.create("two-gates", "g-1")
    opened = await argo.until("g-1", lambda w: len(w["status"].get("nodes", {})) == 3)
    same(stable(opened), trees["two-gates-open"])
    await argo.put("g-1", "resume", nodeFieldSelector="displayName=gate-a")
    await argo.put("g-1", "resume")
    last = "g-1-366532718"
    await argo.until("g-1", lambda w: last in w["status"].get("nodes", {}))
    await argo.put("g-1", "resume", nodeFieldSelector=f"id={last}")
    same(stable(await argo.end("g-1")), trees["two-gates"])


async def test_stop_runs_the_exit_handler(argo, trees, stable):
    """Stop ends the pod with TERM, waits for it, and the exit handler runs."""
    await argo.create("long-with-exit", "st-1")
    await started(argo, "st-1")
    await argo.put("st-1", "stop", message="stopped by ann")
    stopping = await argo.until("st-1", lambda w: "strategy:" in json.dumps(w["status"]))
    same(stable(stopping), trees["stopping"])
    same(stable(await argo.end("st-1")), trees["stopped"])
    lines = await argo.lines("st-1")
    assert {"started", "got TERM", "Error: exit status 9"} < set(lines)
    assert lines[-1] == "bye Failed"


async def test_terminate_does_not_run_the_exit_handler(argo, trees, stable):
    """Terminate ends the pod, and nothing more runs."""
    await argo.create("long-with-exit", "st-2")
    await started(argo, "st-2")
    await argo.put("st-2", "terminate")
    same(stable(await argo.end("st-2")), trees["terminated"])


async def started(argo, name):
    """Wait until the first pod has printed its first line."""
    uid = argo.engine.get(name).uid
    log = argo.engine.logs.of(uid)
    async with asyncio.timeout(10):
        while not any(line.text == "started" for line in log.lines):
            log.changed.clear()
            await log.changed.wait()


async def test_retry_runs_the_failed_part_again(argo, trees, stable):
    """A retry keeps name, uid and what succeeded, and replaces parameters."""
    await argo.create("fail-retry-exit", "rt-1", always="true")
    failed = await argo.end("rt-1")
    reopened = await argo.put("rt-1", "retry", parameters=["always=false"])
    assert reopened["metadata"]["uid"] == failed["metadata"]["uid"]
    assert "phase" not in reopened["status"]
    assert "workflows.argoproj.io/completed" not in reopened["metadata"]["labels"]
    assert reopened["metadata"]["labels"]["workflows.argoproj.io/phase"] == "Failed"
    assert reopened["spec"]["arguments"]["parameters"] == [{"name": "always", "value": "false"}]
    ids = trees["fail-retry-exit-reopened"]["nodes"]
    assert {k: v["phase"] for k, v in reopened["status"]["nodes"].items()} == {
        id_: node["phase"] for id_, node in ids.items()
    }
    workflow = await argo.until("rt-1", lambda w: w["status"].get("phase") == "Succeeded")
    same(stable(workflow), trees["fail-retry-exit-again"])


async def test_supplied_outputs_reach_the_next_step(argo, trees, stable):
    """A value set on a suspend node is read by the guard of the next step."""
    await argo.create("suspend-input", "so-1")
    await argo.until("so-1", is_waiting)
    await argo.put(
        "so-1", "set", nodeFieldSelector="displayName=ask", outputParameters='{"approve": "MAYBE"}'
    )
    await argo.put("so-1", "resume", nodeFieldSelector="displayName=ask")
    same(stable(await argo.end("so-1")), trees["suspend-input-set"])


async def test_a_gate_can_be_set_to_failed(argo, trees, stable):
    """Setting the phase Failed on a suspend node is a rejection."""
    await argo.create("suspend-input", "so-2")
    await argo.until("so-2", is_waiting)
    await argo.put(
        "so-2",
        "set",
        nodeFieldSelector="displayName=ask",
        phase="Failed",
        message="rejected by bob",
    )
    same(stable(await argo.end("so-2")), trees["suspend-input-rejected"])


async def test_a_missing_output_hangs_as_on_a_real_argo(argo, trees, stable):
    """A resume with a selector asks for no outputs; what reads them never begins."""
    await argo.create("suspend-input", "hang-2")
    await argo.until("hang-2", is_waiting)
    await argo.put("hang-2", "resume", nodeFieldSelector="displayName=ask")
    workflow = await argo.until("hang-2", lambda w: len(w["status"]["nodes"]) == 4)
    recorded = trees["suspend-input-stuck"]
    assert stable(workflow)["nodes"] == recorded["nodes"]
    await argo.put("hang-2", "terminate")
    assert argo.engine.latest("hang-2").snapshot["status"]["phase"] == "Running"
