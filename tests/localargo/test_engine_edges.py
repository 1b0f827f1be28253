"""Rare turns of the engine: refusals at creation, broken templates, races of pods and retries."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from bridge.localargo.masks import FieldMask

WORKFLOWS = "/api/v1/workflows/argo-workflows"
PAUSE = {"name": "pause", "suspend": {}}


def script(source, name="main", **template):
    """A template that runs a shell script."""
    return {"name": name, "script": {"command": ["sh"], "source": source}, **template}


def flow(*templates, **spec):
    """A spec of these templates, the first of which is entered."""
    return {"entrypoint": templates[0]["name"], "templates": list(templates), **spec}


def dag(*tasks, **more):
    """A DAG template named main."""
    return {"name": "main", "dag": {"tasks": list(tasks), **more}}


def task(name, template, **more):
    """A task of a DAG, or a step."""
    return {"name": name, "template": template, **more}


def phases(workflow):
    """Display name and phase of every node."""
    return {n["displayName"]: n["phase"] for n in workflow["status"]["nodes"].values()}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"templates": [PAUSE]}, "spec.entrypoint is required"),
        (flow({"name": "main"}), "templates.main template type unspecified"),
        (
            flow({**PAUSE, "script": {"command": ["sh"], "source": ""}}),
            "templates.pause template type unspecified",
        ),
        (flow(PAUSE, onExit="none"), "template name 'none' undefined"),
        (
            flow({"name": "main", "steps": [[task("a", "none")]]}),
            "templates.main.steps[0].a template name 'none' undefined",
        ),
        (flow(dag(task("a", "none"))), "templates.main.tasks.a template name 'none' undefined"),
        (
            flow(dag(task("a", "pause", depends="b")), PAUSE),
            "templates.main.tasks.a dependency 'b' not defined",
        ),
        (
            flow(dag(task("a", "pause", depends="a &&")), PAUSE),
            "templates.main.tasks.a a task name is missing",
        ),
        (
            flow(dag(task("a", "pause", depends="b"), task("b", "pause", depends="a")), PAUSE),
            "templates.main sorting failed: cycle: ",
        ),
        (
            flow(dag(task("a", "pause"), target="b"), PAUSE),
            "templates.main.targets target 'b' is not defined",
        ),
        (
            flow({"name": "main", "container": {"image": "x"}}),
            "templates.main.container.command is required: the embedded Argo runs no images",
        ),
        ("text", "spec must be an object, not string"),
        ({"templates": {}}, "spec.templates must be an array, not object"),
        (
            flow(PAUSE, workflowMetadata={"labels": {"a": 1}}),
            "spec.workflowMetadata.labels.a must be a string",
        ),
    ],
)
async def test_plans_that_are_refused(argo, spec, message):
    """A plan that cannot be executed is a 400 when it is created."""
    body = {"workflow": {"metadata": {"name": "x"}, "spec": spec}}
    status, code, text = await argo.refused("POST", WORKFLOWS, body)
    assert (status, code) == (400, 3)
    assert text.startswith(message)


async def test_a_long_label_is_refused(argo):
    """A label of more than 63 characters is told with the text of Kubernetes."""
    metadata = {"name": "x", "labels": {"a": "v" * 64}}
    body = {"workflow": {"metadata": metadata, "spec": flow(PAUSE)}}
    _, _, text = await argo.refused("POST", WORKFLOWS, body)
    assert text.endswith("must be no more than 63 bytes")


INVALID = "cannot finish template replacement because the result was invalid JSON"


def escape_character(**more):
    """A template whose output is a character that breaks the template it is put into."""
    output = {"name": "o", "valueFrom": {"path": "/data/o"}, **more}
    produce = script("printf '\\033' > /data/o", name="produce")
    return {**produce, "outputs": {"parameters": [output]}}


def showing(root):
    """A template that shows its input, and the arguments that hand it the broken value."""
    show = script("echo '{{inputs.parameters.p}}'", name="show")
    show["inputs"] = {"parameters": [{"name": "p"}]}
    value = f"{{{{={root}.a.outputs.parameters.o}}}}"
    return show, {"parameters": [{"name": "p", "value": value}]}


async def test_a_value_that_breaks_its_template_is_an_error(argo):
    """Text that makes a step's template unreadable fails the step and names it."""
    show, arguments = showing("steps")
    steps = [[task("a", "produce")], [task("show", "show", arguments=arguments)]]
    spec = flow({"name": "main", "steps": steps}, escape_character(), show)
    workflow = await argo.run(spec, "broken")
    assert workflow["status"]["phase"] == "Failed"
    text = f"step group deemed errored due to child broken[1].show error: {INVALID}"
    assert workflow["status"]["message"] == text
    assert phases(workflow)["show"] == "Error"


async def test_a_dag_task_that_breaks_is_an_error(argo):
    """The same in a DAG: the task and the DAG are Error."""
    show, arguments = showing("tasks")
    tasks = (task("a", "produce"), task("show", "show", depends="a", arguments=arguments))
    workflow = await argo.run(flow(dag(*tasks), escape_character(), show), "broken")
    assert phases(workflow) == {"broken": "Error", "a": "Succeeded", "show": "Error"}


async def test_an_entry_that_breaks_is_an_error(argo):
    """A workflow whose entry template cannot be filled in any more ends, saying so."""
    show, _ = showing("steps")
    value = "{{workflow.outputs.parameters.x}}"
    arguments = {"parameters": [{"name": "p", "value": value}]}
    steps = [[task("a", "produce")], [task("show", "show", arguments=arguments)]]
    spec = flow({"name": "main", "steps": steps}, escape_character(globalName="x"), show)
    workflow = await argo.run(spec, "entry")
    assert workflow["status"]["phase"] == "Error"
    assert workflow["status"]["message"] == f"error in entry template execution: {INVALID}"
    assert phases(workflow)["entry"] == "Error"


@pytest.mark.parametrize("kind", ["script", "steps", "dag"])
async def test_an_exit_handler_that_breaks_is_an_error(argo, kind):
    """An exit handler that cannot be filled in makes the workflow an Error."""
    value = "{{workflow.outputs.parameters.x}}"
    one = task("one", "produce", when=f"'{value}' == ''")
    bodies = {"steps": {"steps": [[one]]}, "dag": {"dag": {"tasks": [one]}}}
    bye = {"name": "bye", **bodies.get(kind, {})}
    if kind == "script":
        bye = script(f"echo '{value}'", name="bye")
    main = {"name": "main", "steps": [[task("a", "produce")]]}
    spec = flow(main, escape_character(globalName="x"), bye, onExit="bye")
    workflow = await argo.run(spec, "exit")
    assert (workflow["status"]["phase"], workflow["status"]["message"]) == ("Error", INVALID)
    assert phases(workflow)["exit"] == "Succeeded"
    assert phases(workflow)["exit.onExit"] == "Error"
    types = {"script": "Pod", "steps": "Steps", "dag": "DAG"}
    exit_node = next(n for n in workflow["status"]["nodes"].values() if "onExit" in n["name"])
    assert exit_node["type"] == types[kind]


async def test_a_dag_can_go_on_after_a_failure(argo):
    """`failFast: false` lets other branches end; the result is still a failure."""
    templates = (script("exit 1", name="bad"), script("true", name="good"))
    tasks = (
        task("bad", "bad"),
        task("good", "good"),
        task("later", "good", depends="good"),
    )
    workflow = await argo.run(flow(dag(*tasks, failFast=False), *templates), "slow-fail")
    assert phases(workflow) == {
        "slow-fail": "Failed",
        "bad": "Failed",
        "good": "Succeeded",
        "later": "Succeeded",
    }


async def test_a_dag_can_have_a_target(argo):
    """Only what the target needs runs."""
    tasks = (task("a", "good"), task("b", "good", depends="a"), task("c", "good"))
    workflow = await argo.run(
        flow(dag(*tasks, target="b"), script("true", name="good")), "targeted"
    )
    assert set(phases(workflow)) == {"targeted", "a", "b"}


async def test_a_task_that_may_fail(argo):
    """`continueOn` lets a failed task count as done, for its DAG and for `dependencies`."""
    tolerant = task("bad", "bad", continueOn={"failed": True})
    tasks = (tolerant, task("next", "good", dependencies=["bad"]))
    templates = (script("exit 1", name="bad"), script("true", name="good"))
    workflow = await argo.run(flow(dag(*tasks), *templates), "tolerant")
    assert phases(workflow) == {"tolerant": "Succeeded", "bad": "Failed", "next": "Succeeded"}
    alone = await argo.run(flow(dag(tolerant), *templates), "alone")
    assert phases(alone) == {"alone": "Succeeded", "bad": "Failed"}


async def test_groups_of_tasks_have_results_of_their_own(argo):
    """`AnySucceeded` and `AllFailed` look at the items of a task; guards can skip items."""
    each = {"arguments": {"parameters": [{"name": "n", "value": "{{item}}"}]}}
    exit_with = script("exit {{inputs.parameters.n}}", name="exit")
    exit_with["inputs"] = {"parameters": [{"name": "n"}]}
    tasks = (
        task("mixed", "exit", withItems=[0, 1], **each),
        task("bad", "exit", withParam="[1, 2, 9]", when="{{item}} != 9", **each),
        task("any", "good", depends="mixed.AnySucceeded"),
        task("none", "good", depends="bad.AnySucceeded"),
        task("all", "good", depends="bad.AllFailed"),
    )
    templates = (exit_with, script("true", name="good"))
    workflow = await argo.run(flow(dag(*tasks), *templates), "groups")
    found = phases(workflow)
    assert (found["mixed"], found["bad"], found["bad(2:9)"]) == ("Failed", "Failed", "Skipped")
    assert (found["any"], found["none"], found["all"]) == ("Succeeded", "Omitted", "Omitted")


async def test_a_dag_reads_the_outputs_of_items(argo):
    """Tasks behind a fan-out read its outputs as lists."""
    produce = script(
        "echo {{inputs.parameters.n}} > /data/o",
        name="produce",
        inputs={"parameters": [{"name": "n"}]},
        outputs={"parameters": [{"name": "o", "valueFrom": {"path": "/data/o"}}]},
    )
    show = script("echo '{{inputs.parameters.all}}'", name="show")
    show["inputs"] = {"parameters": [{"name": "all"}]}
    item = {"parameters": [{"name": "n", "value": "{{item}}"}]}
    lists = {"parameters": [{"name": "all", "value": "{{tasks.each.outputs.parameters}}"}]}
    tasks = (
        task("each", "produce", withItems=["a", "b"], arguments=item),
        task("show", "show", depends="each", arguments=lists),
    )
    await argo.run(flow(dag(*tasks), produce, show), "listed")
    assert '[{"o":"a"},{"o":"b"}]' in await argo.lines("listed")


async def test_a_dag_that_reads_nothing_hangs(argo):
    """A task that reads an output nobody supplied never begins, as in Steps."""
    ask = {**PAUSE, "name": "ask"}
    ask["outputs"] = {"parameters": [{"name": "v", "valueFrom": {"supplied": {}}}]}
    show = script("echo {{inputs.parameters.p}}", name="show")
    show["inputs"] = {"parameters": [{"name": "p"}]}
    value = {"parameters": [{"name": "p", "value": "{{tasks.ask.outputs.parameters.v}}"}]}
    tasks = (task("ask", "ask"), task("show", "show", depends="ask", arguments=value))
    body = {"workflow": {"metadata": {"name": "h"}, "spec": flow(dag(*tasks), ask, show)}}
    await argo.call("POST", WORKFLOWS, body)
    await argo.until("h", lambda w: "ask" in str(w["status"].get("nodes")))
    await argo.put("h", "resume", nodeFieldSelector="displayName=ask")
    await argo.until("h", lambda _: argo.engine.get("h").stuck)
    assert phases(argo.engine.latest("h").snapshot) == {"h": "Running", "ask": "Succeeded"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"parameter": "{{steps.a.outputs.parameters.none}}"}, "Unable to resolve: {{steps.a"),
        ({"expression": "int('x')"}, "invalid operation: int"),
        ({"expression": "nil"}, "Unable to resolve: o"),
    ],
)
async def test_outputs_that_cannot_be_found(argo, source, message):
    """A template whose own output has no value is an Error that says which."""
    outputs = {"parameters": [{"name": "o", "valueFrom": source}]}
    main = {"name": "main", "steps": [[task("a", "good")]], "outputs": outputs}
    workflow = await argo.run(flow(main, script("true", name="good")), "no-output")
    assert workflow["status"]["phase"] == "Error"
    assert workflow["status"]["message"].startswith(message)


async def test_global_outputs_are_read_at_once(argo):
    """What a template publishes for the workflow, the next step can read."""
    inner = {
        "name": "inner",
        "steps": [[task("a", "produce")]],
        "outputs": {
            "parameters": [
                {
                    "name": "o",
                    "globalName": "shared",
                    "valueFrom": {"parameter": "{{steps.a.outputs.parameters.o}}"},
                }
            ]
        },
    }
    produce = script("printf 42 > /data/o", name="produce")
    produce["outputs"] = {"parameters": [{"name": "o", "valueFrom": {"path": "/data/o"}}]}
    show = script("echo 'shared {{workflow.outputs.parameters.shared}}'", name="show")
    main = {"name": "main", "steps": [[task("i", "inner")], [task("s", "show")]]}
    workflow = await argo.run(flow(main, inner, produce, show), "global")
    assert "shared 42" in await argo.lines("global")
    outputs = workflow["status"]["outputs"]["parameters"]
    assert outputs == [{"name": "shared", "value": "42"}]


async def test_a_pause_without_its_output_is_an_error(argo):
    """A suspend that runs out without the output it must have is an Error."""
    outputs = {"parameters": [{"name": "v", "valueFrom": {"supplied": {}}}]}
    main = {"name": "main", "suspend": {"duration": "10ms"}, "outputs": outputs}
    workflow = await argo.run(flow(main), "unsupplied")
    assert workflow["status"]["phase"] == "Error"
    assert workflow["status"]["message"].startswith("raw output parameter 'v' has not been set")


async def test_arguments_of_the_workflow_reach_the_entry(argo):
    """The entry template takes the workflow's arguments, or its defaults."""
    main = script("echo '{{inputs.parameters.a}} {{inputs.parameters.b}}'")
    main["inputs"] = {"parameters": [{"name": "a"}, {"name": "b", "default": 5}]}
    arguments = {"parameters": [{"name": "a", "value": "given"}]}
    await argo.run(flow(main, arguments=arguments), "inputs")
    assert "given 5" in await argo.lines("inputs")


async def test_nothing_begins_after_a_stop(argo_server):
    """A pod, a pause or a retry that would begin after a stop fails with the reason."""
    async with argo_server(requeue_seconds=0.1) as argo:
        tasks = (
            task("first", "good"),
            task("pod", "good", depends="first"),
            task("pause", "pause", depends="first"),
        )
        spec = flow(dag(*tasks), script("true", name="good"), PAUSE)
        body = {"workflow": {"metadata": {"name": "s"}, "spec": spec}}
        await argo.call("POST", WORKFLOWS, body)
        await argo.put("s", "stop")
        workflow = await argo.end("s")
    nodes = {n["displayName"]: n for n in workflow["status"]["nodes"].values()}
    messages = {name: node.get("message") for name, node in nodes.items()}
    assert workflow["status"]["phase"] == "Failed"
    assert messages["pod"] == "workflow shutdown with strategy: Stop"
    assert messages["pause"] == "Stopped with strategy 'Stop'"


async def test_a_late_end_of_a_pod_is_ignored(argo_server):
    """A pod that outlives its deadline is killed, and its end does not touch a retried node."""
    async with argo_server(grace_seconds=0.4) as argo:
        source = "[ {{workflow.parameters.again}} = yes ] && exit 0; trap '' TERM; sleep 600"
        main = script(source)
        arguments = {"parameters": [{"name": "again", "value": "no"}]}
        spec = flow(main, arguments=arguments, activeDeadlineSeconds=1)
        first = await argo.run(spec, "late")
        assert first["status"]["message"] == "Step exceeded its deadline"
        await argo.put("late", "retry", parameters=["again=yes"])
        again = await argo.until("late", lambda w: w["status"].get("phase") == "Succeeded")
        version = again["metadata"]["resourceVersion"]
        while argo.engine._tasks:
            await next(iter(argo.engine._tasks))
        latest = argo.engine.latest("late").snapshot["metadata"]["resourceVersion"]
        assert latest == version


async def test_an_http_call_that_takes_too_long(argo):
    """A server that never answers fails the node when the time is up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        http = {"url": url, "timeoutSeconds": "0.2", "insecureSkipVerify": True}
        workflow = await argo.run(flow({"name": "main", "http": http}), "silent")
    assert workflow["status"]["message"].startswith("context deadline exceeded")


async def test_http_headers_can_be_secret(argo_server):
    """A header from a Secret that does not exist fails the node and names it."""
    source = {"secretKeyRef": {"name": "none", "key": "k"}}
    http = {"url": "http://127.0.0.1:9/", "headers": [{"name": "A", "valueFrom": source}]}
    async with argo_server() as argo:
        workflow = await argo.run(flow({"name": "main", "http": http}), "secret")
    assert 'secret "none" not found' in workflow["status"]["message"]


async def test_values_of_resources_by_jq(argo):
    """`jqFilter` reads a value of the object, and log lines show what was done."""
    manifest = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "velero"}})
    main = {
        "name": "main",
        "resource": {"action": "get", "manifest": manifest, "flags": ["--ignore-not-found"]},
        "outputs": {"parameters": [{"name": "n", "valueFrom": {"jqFilter": ".metadata.name"}}]},
    }
    workflow = await argo.run(flow(main), "jq")
    outputs = workflow["status"]["nodes"]["jq"]["outputs"]
    assert outputs["parameters"][0]["value"] == "velero"
    answer = await argo.http.get(f"{WORKFLOWS}/jq/log?logOptions.container=main")
    assert "kubectl get -f /tmp/manifest.yaml --ignore-not-found -o json" in answer.text
    assert "resource=namespace./velero" in answer.text


async def test_success_has_its_own_time_to_live(argo):
    """`secondsAfterFailure` does not delete what has succeeded."""
    spec = flow(script("true"), ttlStrategy={"secondsAfterFailure": 0})
    await argo.run(spec, "kept")
    assert (await argo.call("GET", f"{WORKFLOWS}/kept"))["status"]["phase"] == "Succeeded"
    gone = flow(script("true"), ttlStrategy={"secondsAfterSuccess": 0, "secondsAfterCompletion": 9})
    body = {"workflow": {"metadata": {"name": "gone"}, "spec": gone}}
    await argo.call("POST", WORKFLOWS, body)
    await argo.end("gone")
    async with asyncio.timeout(10):
        while argo.engine._tasks:
            await next(iter(argo.engine._tasks))
    assert (await argo.refused("GET", f"{WORKFLOWS}/gone"))[0] == 404


async def test_pods_of_failures_can_stay(argo):
    """A podGC on success keeps the log of what failed."""
    gc = {"strategy": "OnWorkflowSuccess", "deleteDelayDuration": "0s"}
    await argo.run(flow(script("echo kept; exit 1"), podGC=gc), "failed")
    assert "kept" in await argo.lines("failed")


async def test_a_waiting_workflow_can_be_stopped(argo):
    """A workflow that waits for a lock ends when it is stopped, and the lock goes on."""
    spec = flow(PAUSE, synchronization={"mutexes": [{"name": "m"}]})
    for name in ("one", "two", "three"):
        body = {"workflow": {"metadata": {"name": name}, "spec": spec}}
        await argo.call("POST", WORKFLOWS, body)
    await argo.until("three", lambda w: w["status"].get("phase") == "Pending")
    await argo.put("two", "stop")
    stopped = await argo.end("two")
    assert stopped["status"]["message"] == "Stopped with strategy 'Stop'"
    await argo.put("one", "resume")
    await argo.until("three", lambda w: w["status"].get("phase") == "Running")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"suspend": {"duration": "soon"}}, 'time: invalid duration "soon"'),
        (
            {"script": {"command": ["sh"], "source": "exit 1"}, "retryStrategy": {"limit": "many"}},
            "invalid literal",
        ),
        (
            {"script": {"command": ["sh"], "source": "exit 1", "env": [{"value": "nameless"}]}},
            "KeyError",
        ),
    ],
)
async def test_nonsense_ends_the_workflow(argo, template, message):
    """A value that nothing can be made of ends the workflow as an Error that shows it."""
    workflow = await argo.run(flow({"name": "main", **template}), "nonsense")
    assert workflow["status"]["phase"] == "Error"
    assert workflow["status"]["message"].startswith(message)


async def test_an_expression_that_is_not_evaluated_here_is_an_error(argo):
    """What only a real Argo can evaluate ends the workflow and says so."""
    arguments = {"parameters": [{"name": "v", "value": "{{=map([1], {# + 1})}}"}]}
    workflow = await argo.run(flow(PAUSE, arguments=arguments), "unsupported")
    assert workflow["status"]["phase"] == "Error"
    assert workflow["status"]["message"].startswith("failed to evaluate expression")


async def test_past_events_share_what_has_not_changed(argo):
    """Events of a workflow hold each state of a node once, and the bytes of recent ones only."""
    await argo.create("two-gates", "g")
    await argo.until("g", lambda w: "gate-b" in str(w["status"].get("nodes")))
    for _ in range(300):
        argo.engine.touch("g")
    ring = [event for event in argo.engine.log._ring if "nodes" in event.snapshot["status"]]
    first, last = ring[-300].snapshot["status"]["nodes"], ring[-1].snapshot["status"]["nodes"]
    assert first is not last
    assert all(first[id_] is last[id_] for id_ in first)
    mask = FieldMask()
    for event in ring:
        event.frame(mask)
    argo.engine.touch("g")
    ring = list(argo.engine.log._ring)
    assert ring[-256]._frames == {}
    assert ring[-100]._frames
