"""The REST surface for workflows: create, get, list, delete, and what is refused."""

from __future__ import annotations

import json

import pytest

WORKFLOWS = "/api/v1/workflows/argo-workflows"
REQUEST = {
    "metadata": {
        "name": "create-1",
        "labels": {"platform.example.com/request-id": "req-9"},
        "annotations": {"note": "a,b = c", "entity": "component:default/x"},
    },
    "spec": {
        "workflowTemplateRef": {"name": "suspend-only"},
        "arguments": {"parameters": [{"name": "p", "value": "v"}, {"name": "n", "value": 5}]},
    },
}


async def test_create_answers_the_object_without_a_phase(argo):
    """The answer to a create is the object as it is then: no phase, values as strings."""
    created = await argo.call("POST", WORKFLOWS, {"workflow": REQUEST})
    metadata = created["metadata"]
    assert metadata.pop("uid")
    assert metadata.pop("creationTimestamp")
    assert int(metadata.pop("resourceVersion")) > 0
    assert created == {
        "metadata": {
            "name": "create-1",
            "namespace": "argo-workflows",
            "generation": 1,
            "labels": {"platform.example.com/request-id": "req-9"},
            "annotations": {"entity": "component:default/x", "note": "a,b = c"},
        },
        "spec": {
            "arguments": {"parameters": [{"name": "p", "value": "v"}, {"name": "n", "value": "5"}]},
            "workflowTemplateRef": {"name": "suspend-only"},
        },
        "status": {
            "startedAt": None,
            "finishedAt": None,
            "storedTemplates": {
                "namespaced/suspend-only/main": {
                    "name": "main",
                    "inputs": {},
                    "outputs": {},
                    "metadata": {},
                    "suspend": {},
                }
            },
        },
    }
    assert list(created["spec"]) == ["arguments", "workflowTemplateRef"]


async def test_a_taken_name_is_a_conflict(argo):
    """The second create of a name is a 409 with the text of Kubernetes."""
    await argo.call("POST", WORKFLOWS, {"workflow": REQUEST})
    assert await argo.refused("POST", WORKFLOWS, {"workflow": REQUEST}) == (
        409,
        6,
        'workflows.argoproj.io "create-1" already exists',
    )


def of_template(template, name="x"):
    """A create request for a workflow of a template."""
    spec = {"workflowTemplateRef": {"name": template}}
    return {"workflow": {"metadata": {"name": name}, "spec": spec}}


def of_templates(*templates):
    """The spec of a workflow that brings its own templates."""
    return {"entrypoint": "main", "templates": list(templates)}


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (of_template("nope"), (404, 5, 'workflowtemplates.argoproj.io "nope" not found')),
        (
            of_template("namespace-provisioning"),
            (
                400,
                3,
                (
                    "spec.arguments.namespace-name.value or "
                    "spec.arguments.namespace-name.valueFrom is required"
                ),
            ),
        ),
        ({}, (400, 3, "workflow body not specified")),
        (REQUEST, (400, 3, "workflow body not specified")),
        (
            of_template("suspend-only", "a" * 64),
            (
                400,
                3,
                (
                    f'workflow name "{"a" * 64}" must not be more than 63 characters long '
                    "(currently 64)"
                ),
            ),
        ),
        (
            {"workflow": {"metadata": {"name": "x"}, "spec": of_templates({"name": "other"})}},
            (400, 3, "template name 'main' undefined"),
        ),
        (
            {"workflow": {"spec": of_templates({"name": "main", "suspend": {}})}},
            (400, 3, "name or generateName is required"),
        ),
    ],
)
async def test_create_is_refused_as_recorded(argo, body, refusal):
    """What a real Argo Server refuses is refused with its code and text."""
    assert await argo.refused("POST", WORKFLOWS, body) == refusal


async def test_bad_metadata_is_told_at_once(argo):
    """A bad name and a bad label are both in one text."""
    bad = {"metadata": {"name": "Bad_Name", "labels": {"a": "b c"}}, "spec": REQUEST["spec"]}
    status, code, message = await argo.refused("POST", WORKFLOWS, {"workflow": bad})
    assert (status, code) == (400, 3)
    assert message == (
        'Workflow.argoproj.io "Bad_Name" is invalid: [metadata.name: Invalid value: "Bad_Name": a '
        "lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
        "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
        "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'"
        '), metadata.labels: Invalid value: "b c": a valid label must be an empty string or '
        "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
        "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')]"
    )


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"volumes": [{"name": "v"}]}, "spec.volumes"),
        ({"hooks": {"running": {"template": "main"}}}, "spec.hooks"),
        ({"synchronization": {"semaphores": [{}]}}, "spec.synchronization.semaphores"),
        (of_templates({"name": "main", "data": {"x": 1}}), "spec.templates[0].data"),
        (of_templates({"name": "main", "daemon": True}), "spec.templates[0].daemon"),
        (
            of_templates({"name": "main", "container": {"volumeMounts": [{}]}}),
            "spec.templates[0].container.volumeMounts",
        ),
        (
            of_templates({"name": "main", "steps": [[{"name": "a", "templateRef": {"x": 1}}]]}),
            "spec.templates[0].steps[0][0].templateRef",
        ),
        (
            of_templates(
                {"name": "main", "script": {"env": [{"valueFrom": {"fieldRef": {"x": 1}}}]}}
            ),
            "spec.templates[0].script.env[0].valueFrom.fieldRef",
        ),
    ],
)
async def test_unsupported_fields_are_refused_by_name(argo, spec, field):
    """A field that the embedded Argo does not carry out is never dropped in silence."""
    workflow = {"metadata": {"name": "x"}, "spec": {"entrypoint": "main", **spec}}
    assert await argo.refused("POST", WORKFLOWS, {"workflow": workflow}) == (
        400,
        3,
        f"{field} is not supported by the embedded Argo",
    )


async def test_a_template_file_with_unsupported_fields_says_so(argo_server, tmp_path, caplog):
    """Such a template does not stop the others; a workflow of it is refused with the reason."""
    (tmp_path / "bad.yaml").write_text(
        "kind: WorkflowTemplate\nmetadata: {name: bad}\n"
        "spec: {entrypoint: main, templates: [{name: main, data: {x: 1}}]}\n"
    )
    async with argo_server(templates=(tmp_path,)) as argo:
        request = {"metadata": {"name": "x"}, "spec": {"workflowTemplateRef": {"name": "bad"}}}
        status, _, message = await argo.refused("POST", WORKFLOWS, {"workflow": request})
    reason = "spec.templates[0].data is not supported by the embedded Argo"
    assert (status, message) == (400, f'WorkflowTemplate "bad": {reason}')
    assert f"{tmp_path / 'bad.yaml'}: {reason}" in caplog.text


@pytest.mark.parametrize("option", [{"serverDryRun": True}, {"createOptions": {"dryRun": ["All"]}}])
async def test_a_dry_run_creates_nothing(argo, option):
    """A dry run answers the object without a version, and it does not exist afterwards."""
    created = await argo.call("POST", WORKFLOWS, {"workflow": REQUEST, **option})
    assert "resourceVersion" not in created["metadata"]
    assert (await argo.refused("GET", f"{WORKFLOWS}/create-1"))[0] == 404


async def test_a_generated_name_starts_with_the_prefix(argo):
    """`generateName` gives a fresh name, cut to 63 characters."""
    for prefix in ("short-", "p" * 80):
        workflow = {"metadata": {"generateName": prefix}, "spec": REQUEST["spec"]}
        created = await argo.call("POST", WORKFLOWS, {"workflow": workflow})
        name = created["metadata"]["name"]
        assert name.startswith(prefix[:58])
        assert len(name) == min(len(prefix), 58) + 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"workflow": ', "unexpected EOF"),
        (b"not json", "invalid character 'o' in literal null (expecting 'u')"),
        (b"resourceName=x", "invalid character 'r' looking for beginning of value"),
        (b"", "workflow body not specified"),
        (b"null", "workflow body not specified"),
    ],
)
async def test_malformed_bodies(argo, content, message):
    """A body that is no JSON is a 400 with the text of Go's decoder."""
    answer = await argo.http.post(WORKFLOWS, content=content)
    assert (answer.status_code, answer.json()) == (400, {"code": 3, "message": message})


async def test_bodies_are_read_as_go_reads_them(argo):
    """Letter case of names and bytes after the value do not matter."""
    text = json.dumps({"WORKFLOW": REQUEST, "ServerDryRun": True}) + " trailing"
    answer = await argo.http.post(WORKFLOWS, content=text)
    assert answer.status_code == 200
    assert "resourceVersion" not in answer.json()["metadata"]


async def test_a_large_body_is_refused(argo):
    """An object that a cluster could not store is not stored here."""
    spec = {
        **REQUEST["spec"],
        "arguments": {"parameters": [{"name": "p", "value": "x" * 1_600_000}]},
    }
    body = {"workflow": {**REQUEST, "spec": spec}}
    assert await argo.refused("POST", WORKFLOWS, body) == (
        500,
        13,
        "etcdserver: request is too large",
    )
    answer = await argo.http.post(WORKFLOWS, content=b" " * 3_200_000)
    assert answer.json()["message"] == "Request entity too large: limit is 3145728"


async def test_get_with_fields_keeps_the_typed_shape(argo):
    """`fields` keeps or drops parts; the zero values of Go's types stay."""
    await argo.create("suspend-only", "get-1")
    await argo.until("get-1", lambda w: w["status"].get("phase") == "Running")
    path = f"{WORKFLOWS}/get-1?fields="
    bare = {"metadata": {}, "spec": {"arguments": {}}}
    times = {"startedAt": None, "finishedAt": None}
    assert await argo.call("GET", path + "status.phase") == {
        **bare,
        "status": {"phase": "Running", **times},
    }
    assert await argo.call("GET", path + "no.such.field") == {**bare, "status": times}
    found = await argo.call("GET", path + "-status.storedTemplates,status.nodes,spec")
    assert not {"storedTemplates", "nodes"} & found["status"].keys()
    assert found["status"]["phase"] == "Running"
    assert found["spec"] == {"arguments": {}}


async def test_get_by_uid_and_alias(argo):
    """The uid of another object is the recorded 500; `@latest` is the newest workflow."""
    created = await argo.create("suspend-only", "get-1")
    path = f"{WORKFLOWS}/get-1?uid="
    assert (await argo.call("GET", path + created["metadata"]["uid"]))["metadata"][
        "name"
    ] == "get-1"
    status, code, message = await argo.refused("GET", path + "other")
    assert (status, code) == (500, 13)
    assert message == "runtime error: invalid memory address or nil pointer dereference"
    assert (await argo.call("GET", f"{WORKFLOWS}/@latest"))["metadata"]["name"] == "get-1"


async def test_unknown_workflows_are_not_found(argo):
    """Every call on a workflow that does not exist is the same 404."""
    expected = (404, 5, 'workflows.argoproj.io "none" not found')
    assert await argo.refused("GET", f"{WORKFLOWS}/none") == expected
    assert await argo.refused("DELETE", f"{WORKFLOWS}/none") == expected
    for action in ("stop", "terminate", "resume", "set", "suspend", "retry"):
        body = {"nodeFieldSelector": "id=x"} if action == "set" else {}
        assert await argo.refused("PUT", f"{WORKFLOWS}/none/{action}", body) == expected
    elsewhere = "/api/v1/workflows/elsewhere"
    assert await argo.refused("GET", f"{elsewhere}/none") == expected
    listed = await argo.call("GET", elsewhere)
    assert listed["items"] is None


async def test_delete_is_once(argo):
    """A deleted workflow is gone and its name is free again."""
    await argo.create("suspend-only", "d-1")
    assert await argo.call("DELETE", f"{WORKFLOWS}/d-1") == {}
    assert (await argo.refused("DELETE", f"{WORKFLOWS}/d-1"))[0] == 404
    await argo.create("suspend-only", "d-1")


async def listed(argo, query):
    """The names in a list."""
    found = await argo.call("GET", f"{WORKFLOWS}?{query}&fields=items.metadata.name")
    assert found["metadata"] == {}
    return [item["metadata"]["name"] for item in found["items"] or ()]


async def test_list_selects_orders_and_pages(argo):
    """Lists are newest first; selectors and offsets work as recorded."""
    for number, group in enumerate("aaabb", start=1):
        metadata = {"name": f"list-{number}", "labels": {"batch": "list", "grp": group}}
        await argo.call("POST", WORKFLOWS, {"workflow": {**REQUEST, "metadata": metadata}})
    labels = "listOptions.labelSelector="
    assert await listed(argo, labels + "batch=list,grp=a") == ["list-3", "list-2", "list-1"]
    assert await listed(argo, labels + "batch=list,grp in (b,c)") == ["list-5", "list-4"]
    assert await listed(argo, labels + "batch,grp!=a") == ["list-5", "list-4"]
    assert await listed(argo, labels + "!batch") == []
    assert await listed(argo, "listOptions.fieldSelector=metadata.name=list-2") == ["list-2"]
    prefixed = "nameFilter=Prefix&listOptions.fieldSelector=metadata.name=list-"
    assert len(await listed(argo, prefixed)) == 5
    assert len(await listed(argo, "labelSelector=batch=none")) == 5
    page = await argo.call("GET", f"{WORKFLOWS}?listOptions.limit=2&listOptions.continue=2")
    assert [item["metadata"]["name"] for item in page["items"]] == ["list-3", "list-2"]
    assert "continue" not in page["metadata"]  # more follows, and the real server is silent too
    last = await argo.call("GET", f"{WORKFLOWS}?listOptions.limit=2&listOptions.continue=4")
    assert [item["metadata"]["name"] for item in last["items"]] == ["list-1"]
    version = int(last["metadata"]["resourceVersion"])
    assert version == argo.engine.log.version


async def test_an_empty_list_is_null(argo):
    """`items` of an empty list is null, with and without fields."""
    found = await argo.call("GET", WORKFLOWS)
    assert found["items"] is None
    assert found["metadata"]["resourceVersion"]
    filtered = await argo.call("GET", f"{WORKFLOWS}?fields=items.metadata.name")
    assert filtered == {"metadata": {}, "items": None}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "labelSelector=a%3D%3D%3Db",
            "unable to parse requirement: found '=', expected: identifier",
        ),
        ("continue=abc", "listOptions.continue must be int"),
        ("limit=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("fieldSelector=status.phase%3DRunning", "unsupported requirement status.phase=Running"),
    ],
)
async def test_bad_list_queries(argo, query, message):
    """A query that cannot be read is a 400 with the recorded text."""
    refusal = await argo.refused("GET", f"{WORKFLOWS}?listOptions.{query}")
    assert refusal == (400, 3, message)
