"""The REST surface around workflows: templates, information, tokens, headers, the unknown."""

from __future__ import annotations

import pytest

TEMPLATES = "/api/v1/workflow-templates/argo-workflows"
WORKFLOWS = "/api/v1/workflows/argo-workflows"
NO_TOKEN = "token not valid. see https://argo-workflows.readthedocs.io/en/latest/faq/"
TEMPLATE = {
    "metadata": {"name": "fresh", "labels": {"kind": "test"}},
    "spec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": None}]},
}


async def test_templates_can_be_created_read_and_replaced(argo):
    """A template made over the API is there, once, and can be replaced."""
    created = await argo.call("POST", TEMPLATES, {"template": TEMPLATE})
    assert created["spec"]["templates"][0]["suspend"] == {}
    conflict = await argo.refused("POST", TEMPLATES, {"template": TEMPLATE})
    assert conflict == (409, 6, 'workflowtemplates.argoproj.io "fresh" already exists')
    changed = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "onExit": "main"}}
    updated = await argo.call("PUT", f"{TEMPLATES}/fresh", {"template": changed})
    assert updated["metadata"]["uid"] == created["metadata"]["uid"]
    assert updated["metadata"]["generation"] == 2
    assert int(updated["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    assert (await argo.call("GET", f"{TEMPLATES}/fresh"))["spec"]["onExit"] == "main"


async def test_templates_are_listed_by_label(argo):
    """Lists of templates follow the label selector; an empty one is null."""
    query = f"{TEMPLATES}?listOptions.labelSelector=platform.example.com/category%3D"
    found = await argo.call("GET", query + "provisioning")
    assert [item["metadata"]["name"] for item in found["items"]] == ["namespace-provisioning"]
    none = await argo.call("GET", query + "none")
    assert none["items"] is None
    assert none["metadata"]["resourceVersion"]
    assert (await argo.call("GET", "/api/v1/workflow-templates/elsewhere"))["items"] is None


async def test_templates_that_are_refused(argo):
    """Unknown templates and templates with unsupported fields are told apart."""
    missing = 'workflowtemplates.argoproj.io "none" not found'
    assert await argo.refused("GET", f"{TEMPLATES}/none") == (404, 5, missing)
    elsewhere = "/api/v1/workflow-templates/elsewhere/none"
    assert await argo.refused("GET", elsewhere) == (404, 5, missing)
    body = {"template": {**TEMPLATE, "metadata": {"name": "none"}}}
    assert await argo.refused("PUT", f"{TEMPLATES}/none", body) == (404, 5, missing)
    bad = {"metadata": {"name": "bad"}, "spec": {"volumes": [{"name": "v"}]}}
    assert await argo.refused("POST", TEMPLATES, {"template": bad}) == (
        400,
        3,
        "spec.volumes is not supported by the embedded Argo",
    )
    assert (await argo.refused("POST", TEMPLATES, {}))[0] == 400
    assert (await argo.refused("POST", TEMPLATES, {"template": {"spec": {}}}))[2] == (
        "metadata.name is required"
    )


async def test_information(argo):
    """What the server says about itself, and an archive that is off."""
    assert (await argo.call("GET", "/api/v1/version"))["version"].startswith("v4.1.2")
    info = await argo.call("GET", "/api/v1/info")
    assert info["managedNamespace"] == "argo-workflows"
    assert await argo.call("GET", "/api/v1/userinfo") == {}
    archive = "/api/v1/archived-workflows"
    assert await argo.call("GET", archive) == {"metadata": {}, "items": None}
    for method in ("GET", "DELETE"):
        refusal = await argo.refused(method, f"{archive}/00000000-0000-0000-0000-000000000000")
        assert refusal == (500, 13, "getting archived workflows not supported")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/nope"),
        ("HEAD", "/api/v1/version"),
        ("PATCH", "/api/v1/version"),
        ("POST", f"{WORKFLOWS}/submit"),
        ("GET", f"{WORKFLOWS}/x/"),
        ("GET", f"{WORKFLOWS}/a%2Fb"),
        ("PUT", f"{WORKFLOWS}/x/resubmit"),
    ],
)
async def test_unknown_calls_are_not_implemented(argo, method, path):
    """Paths and methods without a route are 501, as at the gateway."""
    answer = await argo.http.request(method, path)
    assert answer.status_code == 501
    if method != "HEAD":
        assert answer.json() == {"code": 12, "message": "Not Implemented"}
    assert "grpc-metadata-content-type" not in answer.headers


async def test_paths_outside_the_api_fall_to_a_page(argo):
    """Like the UI of a real server, any other path answers 200 with HTML."""
    answer = await argo.http.get("/healthz")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_headers_of_success_and_failure(argo):
    """The gateway's headers are there; the version only on a success."""
    good = await argo.http.get("/api/v1/version")
    assert good.headers["content-type"] == "application/json"
    assert good.headers["grpc-metadata-argo-version"].startswith("v4.1.2")
    assert good.headers["x-ratelimit-limit"] == "1000"
    assert good.headers["x-ratelimit-reset"].endswith("UTC")
    trailers = good.headers.get_list("grpc-metadata-trailer")
    assert trailers == ["Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"]
    bad = await argo.http.get(f"{WORKFLOWS}/none")
    assert "grpc-metadata-argo-version" not in bad.headers
    assert bad.headers["grpc-metadata-content-type"] == "application/grpc"


async def test_each_call_takes_two_from_the_rate_window(argo):
    """The remaining calls are counted as a real server counts them."""
    first, second = [await argo.http.get("/api/v1/version") for _ in range(2)]
    if first.headers["x-ratelimit-reset"] == second.headers["x-ratelimit-reset"]:
        remaining = [int(a.headers["x-ratelimit-remaining"]) for a in (first, second)]
        assert remaining[0] - remaining[1] == 2
    assert int(first.headers["x-ratelimit-remaining"]) <= 998


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, NO_TOKEN),
        ("bearer secret", NO_TOKEN),
        ("Bearer garbage", "Unauthorized"),
    ],
)
async def test_a_token_is_asked_for(argo_server, header, message):
    """With a token set, every call without it is the recorded 401, streams included."""
    headers = {"Authorization": header} if header else {}
    async with argo_server(token="secret") as argo:
        answer = await argo.http.get(f"{WORKFLOWS}/x", headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"code": 16, "message": message})
        stream = await argo.http.get("/api/v1/workflow-events/argo-workflows", headers=headers)
        assert stream.status_code == 401
        assert stream.json()["error"] == {
            "grpc_code": 16,
            "http_code": 401,
            "message": message,
            "http_status": "Unauthorized",
        }
        good = await argo.http.get(f"{WORKFLOWS}/x", headers={"Authorization": "Bearer secret"})
        assert good.status_code == 404
