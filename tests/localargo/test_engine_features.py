"""What templates can ask for: retries, outputs, conditions, deadlines, locks, labels, callbacks."""

from __future__ import annotations

import asyncio
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest


def script(source, **template):
    """A template that runs a shell script."""
    name = template.pop("name", "main")
    body = {"image": "busybox", "command": ["sh"], "source": source, **template.pop("script", {})}
    return {"name": name, "script": body, **template}


def flow(*templates, **spec):
    """A spec of these templates, the first of which is entered."""
    return {"entrypoint": templates[0]["name"], "templates": list(templates), **spec}


def node(workflow, name):
    """The node with this display name."""
    nodes = workflow["status"]["nodes"].values()
    return next(item for item in nodes if item["displayName"] == name)


def shown(workflow):
    """Display name and phase of every node below the root."""
    nodes = workflow["status"]["nodes"].values()
    return {n["displayName"]: n["phase"] for n in nodes if n["id"] != workflow["metadata"]["name"]}


async def test_values_flow_from_step_to_step(argo):
    """Outputs by path, result and exit code reach later steps; parallel runs do not collide."""
    produce = script(
        "printf 'value-%s\\n' \"$WHO\" > /data/shared; echo first; echo last",
        name="produce",
        inputs={"parameters": [{"name": "who"}]},
        script={"env": [{"name": "WHO", "value": "{{inputs.parameters.who}}"}]},
        outputs={"parameters": [{"name": "v", "valueFrom": {"path": "/data/shared"}}]},
    )
    consume = script(
        'echo "$ALL"',
        name="consume",
        inputs={"parameters": [{"name": "all"}]},
        script={"env": [{"name": "ALL", "value": "{{inputs.parameters.all}}"}]},
    )

    def step(name, **arguments):
        parameters = [{"name": key, "value": value} for key, value in arguments.items()]
        template = "produce" if "who" in arguments else "consume"
        return {"name": name, "template": template, "arguments": {"parameters": parameters}}

    read = (
        "{{steps.a.outputs.parameters.v}}/{{=steps.b.outputs.parameters.v}}"
        "/{{steps.a.outputs.result}}/{{steps.a.outputs.exitCode}}"
    )
    main = {
        "name": "main",
        "steps": [[step("a", who="a"), step("b", who="b")], [step("c", all=read)]],
        "outputs": {
            "parameters": [
                {"name": "v", "valueFrom": {"parameter": "{{steps.b.outputs.parameters.v}}"}},
                {"name": "w", "valueFrom": {"expression": "steps.a.outputs.parameters.v + '!'"}},
                {"name": "x", "valueFrom": {"parameter": "{{steps.a.nothing}}", "default": "d"}},
            ]
        },
    }
    workflow = await argo.run(flow(main, produce, consume), "values")
    assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
    assert "value-a/value-b/first" in await argo.lines("values")
    assert node(workflow, "a")["outputs"]["result"] == "first\nlast"
    outputs = workflow["status"]["nodes"]["values"]["outputs"]["parameters"]
    assert outputs == [
        {"name": "v", "value": "value-b"},
        {"name": "w", "value": "value-a!"},
        {"name": "x", "value": "d"},
    ]


async def test_items_give_lists_of_outputs(argo):
    """A step that runs for each item gives later steps the outputs as JSON."""
    produce = script(
        'echo "$X" > /data/o',
        name="produce",
        inputs={"parameters": [{"name": "x"}]},
        script={"env": [{"name": "X", "value": "{{inputs.parameters.x}}"}]},
        outputs={"parameters": [{"name": "o", "valueFrom": {"path": "/data/o"}}]},
    )
    consume = script("echo '{{inputs.parameters.all}}'", name="consume")
    consume["inputs"] = {"parameters": [{"name": "all"}]}
    each = {
        "name": "each",
        "template": "produce",
        "withItems": [{"n": "1"}, {"n": "2"}, {"n": "3"}],
        "when": "{{item.n}} != 2",
        "arguments": {"parameters": [{"name": "x", "value": "v{{item.n}}"}]},
    }
    value = "{{steps.each.outputs.parameters.o}}"
    last = {
        "name": "last",
        "template": "consume",
        "arguments": {"parameters": [{"name": "all", "value": value}]},
    }
    main = {"name": "main", "steps": [[each], [last]]}
    workflow = await argo.run(flow(main, produce, consume), "items")
    assert shown(workflow)["each(1:n:2)"] == "Skipped"
    assert '["v1","v3"]' in await argo.lines("items")


async def test_an_empty_list_skips_the_step(argo):
    """A step over an empty list is one skipped node, and the workflow goes on."""
    step = {"name": "each", "template": "never", "withParam": "[]"}
    main = {"name": "main", "steps": [[step]]}
    workflow = await argo.run(flow(main, script("exit 1", name="never")), "empty")
    assert workflow["status"]["phase"] == "Succeeded"
    assert node(workflow, "each")["message"] == "Skipped, empty params"
    assert node(workflow, "each")["type"] == "Skipped"


@pytest.mark.parametrize(
    ("policy", "source", "attempts"),
    [
        ("OnFailure", "exit 1", 3),
        ("Always", "exit 1", 3),
        ("OnError", "exit 1", 1),
        ("OnTransientError", "exit 1", 1),
    ],
)
async def test_retry_policies(argo, policy, source, attempts):
    """A policy decides which ends are tried again."""
    template = script(source, retryStrategy={"limit": "2", "retryPolicy": policy})
    workflow = await argo.run(flow(template), "policy")
    nodes = workflow["status"]["nodes"]
    assert len(nodes) == attempts + 1
    root = nodes["policy"]
    assert root["type"] == "Retry"
    expected = "No more retries left" if attempts > 1 else "main: Error (exit code 1)"
    assert (root["phase"], root["message"]) == ("Failed", expected)


async def test_an_expression_decides_about_a_retry(argo):
    """`retryStrategy.expression` sees the last exit code."""
    template = script(
        "exit 5",
        retryStrategy={"limit": 5, "expression": "asInt(lastRetry.exitCode) != 5"},
    )
    workflow = await argo.run(flow(template), "by-expression")
    root = workflow["status"]["nodes"]["by-expression"]
    assert root["message"] == "retryStrategy.expression evaluated to false"
    assert len(root["children"]) == 1


async def test_a_backoff_shows_its_wait(argo):
    """While a retry waits, the node says for how long."""
    template = script("exit 1", retryStrategy={"limit": 1, "backoff": {"duration": "61s"}})
    body = {"workflow": {"metadata": {"name": "slow"}, "spec": flow(template)}}
    await argo.call("POST", "/api/v1/workflows/argo-workflows", body)
    waiting = await argo.until(
        "slow", lambda w: w["status"].get("nodes", {}).get("slow", {}).get("message")
    )
    assert waiting["status"]["nodes"]["slow"]["message"] == "Backoff for 1 minutes 1 seconds"
    await argo.put("slow", "stop")
    stopped = await argo.end("slow")
    assert stopped["status"]["nodes"]["slow"]["message"] == "Stopped with strategy 'Stop'"


async def test_steps_can_be_retried_whole(argo):
    """A retry of a Steps template enters it again under the attempt's name."""
    inner = {
        "name": "inner",
        "retryStrategy": {"limit": 1},
        "steps": [[{"name": "only", "template": "fail"}]],
    }
    workflow = await argo.run(flow(inner, script("exit 1", name="fail")), "whole")
    names = {n["name"] for n in workflow["status"]["nodes"].values()}
    assert {"whole(0)[0].only", "whole(1)[0].only"} < names
    assert workflow["status"]["message"] == "No more retries left"


async def test_continue_on_lets_a_failure_pass(argo):
    """A step that may fail does not fail its group."""
    main = {
        "name": "main",
        "steps": [
            [{"name": "bad", "template": "bad", "continueOn": {"failed": True}}],
            [{"name": "good", "template": "good"}],
        ],
    }
    templates = (main, script("exit 1", name="bad"), script("true", name="good"))
    workflow = await argo.run(flow(*templates), "tolerant")
    assert workflow["status"]["phase"] == "Succeeded"
    assert workflow["status"]["progress"] == "1/2"


@pytest.mark.parametrize(
    ("depends", "phase"),
    [
        ("bad.Failed", "Succeeded"),
        ("bad.Failed && good", "Succeeded"),
        ("bad", "Omitted"),
        ("!bad.Succeeded && (good.Succeeded || bad.Errored)", "Succeeded"),
        ("good && bad.Skipped", "Omitted"),
    ],
)
async def test_depends_decides_what_runs(argo, depends, phase):
    """A task runs when the results of others are as it says."""
    tasks = [
        {"name": "good", "template": "good"},
        {"name": "bad", "template": "bad"},
        {"name": "last", "template": "good", "depends": depends},
    ]
    main = {"name": "main", "dag": {"tasks": tasks}}
    templates = (main, script("true", name="good"), script("exit 1", name="bad"))
    workflow = await argo.run(flow(*templates), "dag")
    assert shown(workflow)["last"] == phase
    expected = "Succeeded" if "Failed" in depends or "!" in depends else "Failed"
    assert workflow["status"]["phase"] == expected


async def test_a_dag_hands_on_outputs_and_skips(argo):
    """Tasks read the outputs of what they depend on; a guard that is false skips a task."""
    produce = script(
        "printf 7 > /data/n",
        name="produce",
        outputs={"parameters": [{"name": "n", "valueFrom": {"path": "/data/n"}}]},
    )
    consume = script("echo got {{inputs.parameters.n}}", name="consume")
    consume["inputs"] = {"parameters": [{"name": "n"}]}
    value = {"parameters": [{"name": "n", "value": "{{tasks.one.outputs.parameters.n}}"}]}
    tasks = [
        {"name": "one", "template": "produce"},
        {"name": "two", "template": "consume", "dependencies": ["one"], "arguments": value},
        {
            "name": "no",
            "template": "produce",
            "depends": "one",
            "when": "{{tasks.one.status}} == x",
        },
    ]
    output = {"name": "n", "valueFrom": {"parameter": "{{tasks.one.outputs.parameters.n}}"}}
    main = {"name": "main", "dag": {"tasks": tasks}, "outputs": {"parameters": [output]}}
    workflow = await argo.run(flow(main, produce, consume), "handed")
    assert "got 7" in await argo.lines("handed")
    assert node(workflow, "no")["message"] == "when 'Succeeded == x' evaluated false"
    root = workflow["status"]["nodes"]["handed"]
    assert root["outputs"]["parameters"] == [{"name": "n", "value": "7"}]


async def test_a_skipped_output_falls_back(argo):
    """The output of a skipped step is its default, or nil for `??`."""
    produce = script(
        "true",
        name="produce",
        outputs={
            "parameters": [
                {"name": "with", "valueFrom": {"path": "/data/w", "default": "d"}},
                {"name": "without", "valueFrom": {"path": "/data/x"}},
            ]
        },
    )
    consume = script("echo '{{inputs.parameters.v}}'", name="consume")
    consume["inputs"] = {"parameters": [{"name": "v"}]}
    value = (
        "{{steps.p.outputs.parameters.with}}-{{=steps.p.outputs.parameters.without ?? 'nothing'}}"
    )
    arguments = {"parameters": [{"name": "v", "value": value}]}
    main = {
        "name": "main",
        "steps": [
            [{"name": "p", "template": "produce", "when": "false"}],
            [{"name": "c", "template": "consume", "arguments": arguments}],
        ],
    }
    workflow = await argo.run(flow(main, produce, consume), "fallback")
    assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
    assert "d-nothing" in await argo.lines("fallback")


async def test_a_missing_output_file_is_an_error(argo):
    """A declared file that the script did not write fails the node, and says which."""
    template = script(
        "true", outputs={"parameters": [{"name": "o", "valueFrom": {"path": "/data/none"}}]}
    )
    workflow = await argo.run(flow(template), "no-file")
    assert workflow["status"]["phase"] == "Error"
    assert "/data/none" in workflow["status"]["message"]


async def test_a_command_that_does_not_exist(argo):
    """A command that cannot be started fails with the executor's own exit code."""
    container = {"image": "x", "command": ["no-such-command"], "args": ["a"]}
    workflow = await argo.run(flow({"name": "main", "container": container}), "no-command")
    assert workflow["status"]["phase"] == "Failed"
    assert workflow["status"]["message"].startswith("main: Error (exit code 64): failed to find")


async def test_a_container_sees_only_its_own_environment(argo, monkeypatch):
    """Containers run with arguments and the environment of the template, nothing else."""
    monkeypatch.setenv("LEAKED", "yes")
    container = {
        "image": "x",
        "command": ["sh", "-c"],
        "args": ['echo "${LEAKED:-no}-$OWN"'],
        "env": [{"name": "OWN", "value": "{{workflow.name}}"}],
    }
    await argo.run(flow({"name": "main", "container": container}), "env")
    assert "no-env" in await argo.lines("env")


async def test_secrets_reach_the_environment(argo_server):
    """`secretKeyRef` takes a value from the settings; a missing one is an error unless optional."""

    def reading(key, **more):
        source = {"secretKeyRef": {"name": "platform-api", "key": key, **more}}
        return {
            "env": [{"name": "TOKEN", "valueFrom": source}],
        }

    async with argo_server(secrets={"platform-api": {"token": "s3cret"}}) as argo:
        good = script('echo "token:$TOKEN"', script=reading("token"))
        await argo.run(flow(good), "secret")
        assert "token:s3cret" in await argo.lines("secret")
        optional = script('echo "token:$TOKEN"', script=reading("none", optional=True))
        await argo.run(flow(optional), "optional")
        assert "token:" in await argo.lines("optional")
        missing = await argo.run(flow(script("true", script=reading("none"))), "missing")
    assert missing["status"]["phase"] == "Error"
    assert "couldn't find key none in Secret platform-api" in missing["status"]["message"]


async def test_children_of_a_pod_die_with_it(argo):
    """What a script leaves in the background is killed, and does not hold up the node."""
    workflow = await argo.run(flow(script("sleep 600 & echo $! ; echo done")), "orphan")
    assert workflow["status"]["phase"] == "Succeeded"
    pid = int((await argo.lines("orphan"))[0])
    async with asyncio.timeout(10):
        while is_running(pid):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.01)


def is_running(pid):
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 - procfs
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"timeout": "100ms"}, "timeout"),
        (
            {"activeDeadlineSeconds": "0.1"},
            "Pod was active on the node longer than the specified deadline",
        ),
    ],
)
async def test_templates_can_limit_their_time(argo, limit, message):
    """A template's own limit ends its pod and says so."""
    workflow = await argo.run(flow(script("sleep 600", **limit)), "limited")
    assert (workflow["status"]["phase"], workflow["status"]["message"]) == ("Failed", message)


async def test_a_deadline_spares_the_exit_handler(argo):
    """The exit handler of a workflow that is out of time still runs."""
    spec = flow(
        script("sleep 600"),
        script("echo ended {{workflow.status}}", name="bye"),
        activeDeadlineSeconds=1,
        onExit="bye",
    )
    workflow = await argo.run(spec, "late")
    assert workflow["status"]["message"] == "Step exceeded its deadline"
    assert node(workflow, "late.onExit")["phase"] == "Succeeded"
    assert "ended Failed" in await argo.lines("late")


async def test_a_failing_exit_handler_fails_the_workflow(argo):
    """A workflow that succeeded is Failed if its exit handler is not."""
    spec = flow(script("true"), script("exit 3", name="bye"), onExit="bye")
    workflow = await argo.run(spec, "bad-exit")
    assert workflow["status"]["phase"] == "Failed"
    assert workflow["status"]["message"] == "main: Error (exit code 3)"


async def test_a_mutex_lets_one_run_at_a_time(argo):
    """The second workflow waits as Pending and says for what; then it runs."""
    await argo.create("mutex", "mx-1", lock="team-a")
    await argo.create("mutex", "mx-2", lock="team-a")
    waiting = await argo.until("mx-2", lambda w: w["status"].get("phase") == "Pending")
    key = "argo-workflows/Mutex/ns-team-a"
    assert waiting["status"]["message"] == f"Waiting for {key} lock. Lock status: 0/1"
    assert waiting["status"]["startedAt"] is None
    assert waiting["status"]["progress"] == "0/0"
    holder = {"mutex": key, "holder": "argo-workflows/mx-1"}
    assert waiting["status"]["synchronization"] == {"mutex": {"waiting": [holder]}}
    assert (await argo.end("mx-1"))["status"]["phase"] == "Succeeded"
    assert argo.engine.latest("mx-2").snapshot["status"]["phase"] in {"Pending", "Running"}
    assert (await argo.end("mx-2"))["status"]["phase"] == "Succeeded"


async def test_a_deleted_holder_frees_its_mutex(argo):
    """Deleting the holder lets the next one in."""
    main = {"name": "main", "suspend": {}}
    spec = flow(main, synchronization={"mutexes": [{"name": "m"}]})
    for name in ("one", "two"):
        body = {"workflow": {"metadata": {"name": name}, "spec": spec}}
        await argo.call("POST", "/api/v1/workflows/argo-workflows", body)
    await argo.until("two", lambda w: w["status"].get("phase") == "Pending")
    await argo.call("DELETE", "/api/v1/workflows/argo-workflows/one")
    await argo.until("two", lambda w: w["status"].get("phase") == "Running")


async def test_a_workflow_is_deleted_after_its_time(argo):
    """`ttlStrategy` removes a completed workflow."""
    await argo.create("ttl", "ttl-1")
    log = argo.engine.log
    from bridge.localargo.selectors import Selector  # noqa: PLC0415 - used once

    watcher = log.watch("argo-workflows", selector=Selector(), name="ttl-1", since="0")
    types = []
    async with asyncio.timeout(15):
        while "DELETED" not in types:
            types += [type_ for type_, _ in await watcher.take()]
    assert (await argo.refused("GET", "/api/v1/workflows/argo-workflows/ttl-1"))[0] == 404


async def test_workflow_metadata_becomes_labels(argo):
    """Labels and annotations of a template, expressions included, are set at the start."""
    metadata = {
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "labelsFrom": {"e": {"expression": "workflow.parameters.p + '-x'"}},
    }
    arguments = {"parameters": [{"name": "p", "value": "v"}]}
    spec = flow(script("true"), workflowMetadata=metadata, arguments=arguments)
    workflow = await argo.run(spec, "labelled")
    labels = workflow["metadata"]["labels"]
    assert (labels["a"], labels["e"]) == ("b", "v-x")
    assert workflow["metadata"]["annotations"]["c"] == "d"


async def test_a_label_expression_that_fails_ends_the_workflow(argo):
    """A workflow whose labels cannot be computed is an Error at once."""
    metadata = {"labelsFrom": {"e": {"expression": "nothing.here"}}}
    workflow = await argo.run(flow(script("true"), workflowMetadata=metadata), "bad-label")
    assert workflow["status"]["phase"] == "Error"
    assert "label e" in workflow["status"]["message"]


async def test_a_tag_that_does_not_parse_leaves_no_phase(argo):
    """Such a workflow never gets a phase; only deletion ends it."""
    arguments = {"parameters": [{"name": "v", "value": "{{=1+}}"}]}
    body = {
        "workflow": {
            "metadata": {"name": "stuck"},
            "spec": flow({"name": "main", "suspend": {}}, arguments=arguments),
        }
    }
    await argo.call("POST", "/api/v1/workflows/argo-workflows", body)
    await argo.until("stuck", lambda w: w["metadata"]["generation"] == 2)
    stopped = await argo.put("stuck", "stop")
    assert "phase" not in stopped["status"]
    assert await argo.call("DELETE", "/api/v1/workflows/argo-workflows/stuck") == {}


async def test_a_guard_that_cannot_be_read_fails_the_workflow(argo):
    """A broken `when` ends the workflow with the recorded text."""
    step = {"name": "guard", "template": "pause", "when": "'it's' == 'production'"}
    main = {"name": "main", "steps": [[step]]}
    workflow = await argo.run(flow(main, {"name": "pause", "suspend": {}}), "guard")
    assert workflow["status"]["phase"] == "Failed"
    assert workflow["status"]["message"].startswith(
        "failed to resolve references: Invalid 'when' expression"
    )


async def test_an_expression_that_fails_fails_the_workflow(argo):
    """A step whose expression cannot be evaluated fails with the recorded text."""
    needy = script("true", name="needy")
    needy["inputs"] = {"parameters": [{"name": "p"}]}
    value = "{{=int(steps.one.status)}}"
    arguments = {"parameters": [{"name": "p", "value": value}]}
    main = {
        "name": "main",
        "steps": [
            [{"name": "one", "template": "one"}],
            [{"name": "two", "template": "needy", "arguments": arguments}],
        ],
    }
    workflow = await argo.run(flow(main, script("true", name="one"), needy), "unresolved")
    assert workflow["status"]["phase"] == "Failed"
    assert workflow["status"]["message"].startswith(
        "failed to resolve references: failed to evaluate expression: invalid operation: int"
    )


async def test_resources_wait_for_their_condition(argo):
    """A `get` waits until the object is as the condition says, and reads values from it."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}

    def action(name, kind, **more):
        manifest = json.dumps({**config, **more.pop("data", {})})
        return {"name": name, "resource": {"action": kind, "manifest": manifest, **more}}

    waiting = action("wait", "get", successCondition="data.ready == yes")
    waiting["outputs"] = {
        "parameters": [{"name": "ready", "valueFrom": {"jsonPath": "{.data.ready}"}}]
    }
    main = {
        "name": "main",
        "dag": {
            "tasks": [
                {"name": "make", "template": "make"},
                {"name": "wait", "template": "wait", "depends": "make"},
                {"name": "pause", "template": "pause", "depends": "make"},
                {"name": "change", "template": "change", "depends": "pause"},
            ]
        },
    }
    templates = (
        main,
        action("make", "create", data={"data": {"ready": "no"}}),
        waiting,
        {"name": "pause", "suspend": {"duration": "100ms"}},
        action("change", "apply", data={"data": {"ready": "yes"}}),
    )
    workflow = await argo.run(flow(*templates), "resources")
    assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
    value = node(workflow, "wait")["outputs"]["parameters"][0]
    assert value["value"] == "yes"


async def test_a_resource_that_is_refused_fails_its_node(argo):
    """What kubectl would say is in the message, with the executor's exit code."""
    manifest = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "velero"}})
    template = {"name": "main", "resource": {"action": "create", "manifest": manifest}}
    workflow = await argo.run(flow(template), "twice")
    assert workflow["status"]["message"].startswith("main: Error (exit code 64): no more retries")
    assert "already exists" in workflow["status"]["message"]


async def test_a_waiting_resource_can_be_stopped(argo):
    """A stop ends the wait of a resource template."""
    manifest = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "velero"}})
    resource = {"action": "get", "manifest": manifest, "successCondition": "status.phase == Gone"}
    body = {
        "workflow": {
            "metadata": {"name": "waits"},
            "spec": flow({"name": "main", "resource": resource}),
        }
    }
    await argo.call("POST", "/api/v1/workflows/argo-workflows", body)
    await argo.until("waits", lambda w: "Running" in str(w["status"].get("nodes")))
    await argo.put("waits", "stop")
    assert (await argo.end("waits"))["status"]["message"] == "Stopped with strategy 'Stop'"


@pytest.fixture
def callback():
    """An HTTP server that keeps what it is sent; `/bad` answers 500."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append((self.path, dict(self.headers), body))
            self.send_response(500 if self.path == "/bad" else 200)
            self.end_headers()
            self.wfile.write(b'{"registered":true}')

        def log_message(self, *_arguments):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", received
    server.shutdown()
    server.server_close()
    thread.join()


def posting(url, **more):
    """An http template that posts."""
    headers = [{"name": "Content-Type", "value": "application/json"}]
    body = '{"workflow":"{{workflow.name}}"}'
    return {
        "name": "main",
        "http": {"url": url, "method": "POST", "headers": headers, "body": body, **more},
    }


async def test_http_templates_call_back(argo, callback):
    """An http template sends its request; the body of the answer is its result."""
    url, received = callback
    template = posting(f"{url}/ok", successCondition="response.statusCode == 200")
    workflow = await argo.run(flow(template), "ht-1")
    root = workflow["status"]["nodes"]["ht-1"]
    assert (root["type"], root["phase"]) == ("HTTP", "Succeeded")
    assert root["outputs"] == {"result": '{"registered":true}'}
    path, headers, body = received[0]
    assert (path, body) == ("/ok", '{"workflow":"ht-1"}')
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "condition", "message"),
    [
        ("/bad", None, "received non-2xx response code: 500"),
        (
            "/ok",
            "response.statusCode == 201",
            "successCondition 'response.statusCode == 201' evaluated false",
        ),
        ("/ok", "nothing", "unknown name nothing"),
    ],
)
async def test_http_templates_that_fail(argo, callback, path, condition, message):
    """A response that is not as it should be fails the node and says why."""
    url, _ = callback
    more = {"successCondition": condition} if condition else {}
    workflow = await argo.run(flow(posting(url + path, **more)), "ht-2")
    assert workflow["status"]["phase"] == "Failed"
    assert workflow["status"]["message"].startswith(message)


async def test_http_templates_without_a_server(argo):
    """A connection that is refused, or an address that is none, fails the node."""
    for name, url in (("ht-3", "http://127.0.0.1:9/x"), ("ht-4", "file:///etc/passwd")):
        workflow = await argo.run(flow(posting(url, timeoutSeconds=5)), name)
        assert workflow["status"]["phase"] == "Failed"
        assert workflow["status"]["message"]


async def test_a_requeue_time_delays_what_is_seen(argo_server):
    """With a requeue time, nodes go from Pending to their end, one look later."""
    async with argo_server(requeue_seconds=0.2) as argo:
        body = {"workflow": {"metadata": {"name": "lag"}, "spec": flow(script("true"))}}
        await argo.call("POST", "/api/v1/workflows/argo-workflows", body)
        log = argo.engine.log
        await argo.end("lag")
        phases = [
            event.snapshot["status"]["nodes"]["lag"]["phase"]
            for event in log._ring
            if event.snapshot["status"].get("nodes")
        ]
    assert phases == ["Pending", "Succeeded"]


async def test_pods_can_be_slowed_down(argo_server):
    """A shortest time for pods makes a demonstration readable."""
    loop = asyncio.get_running_loop()
    async with argo_server(node_seconds=0.3) as argo:
        began = loop.time()
        await argo.run(flow(script("true")), "slow")
        assert loop.time() - began >= 0.3


async def test_ending_the_engine_kills_its_pods(argo_server):
    """Pods do not outlive the embedded Argo."""
    async with argo_server() as argo:
        body = {"workflow": {"metadata": {"name": "k"}, "spec": flow(script("echo $$; sleep 600"))}}
        await argo.call("POST", "/api/v1/workflows/argo-workflows", body)
        log = argo.engine.logs.of(argo.engine.get("k").uid)
        async with asyncio.timeout(10):
            while len(log.lines) < 2:
                log.changed.clear()
                await log.changed.wait()
        pid = int(log.lines[-1].text)
        assert is_running(pid)
    async with asyncio.timeout(10):
        while is_running(pid):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.01)
