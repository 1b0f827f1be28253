"""What browsers may do with the bridge, and what every answer tells them."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.web.making import THING, bridge_for, settings_for

DEMO = {"demo": True, "tokens": None}
PORTAL = "https://portal.example"
ALWAYS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


async def test_every_answer_has_the_security_headers():
    """Whatever is asked, no browser guesses a type, shows a frame, or keeps what is private."""

    async def crash(request: Request) -> Response:
        raise ZeroDivisionError

    async with bridge_for() as rig:
        rig.app.router.routes.append(Route("/crash", crash))
        answers = [
            await rig.http.get(path)
            for path in (
                "/v1/actions",
                "/v1/runs",
                "/healthz",
                "/catalog/all.yaml",
                "/no",
                "/crash",
            )
        ]
        answers.append(await rig.http.get("/v1/runs", headers={"Authorization": "Bearer no"}))
        answers.append(await rig.http.delete("/v1/runs"))
        run = (await rig.http.post("/v1/runs", json=THING)).json()
        answers.append(
            await rig.http.head(run["links"]["events"], headers={"Accept": "text/event-stream"})
        )
    assert {answer.status_code for answer in answers} == {200, 401, 404, 405, 500}
    for answer in answers:
        found = {name: answer.headers.get_list(name) for name in ALWAYS}
        assert found == {name: [value] for name, value in ALWAYS.items()}, answer.url
        assert len(answer.headers.get_list("cache-control")) == 1
        assert "strict-transport-security" not in answer.headers
    assert answers[1].headers["cache-control"] == "no-store"
    assert answers[0].headers["cache-control"] == "no-cache"


async def test_an_answer_may_say_something_else():
    """Pages need a policy of their own; the default gives way."""

    async def page(request: Request) -> Response:
        return Response(headers={"Content-Security-Policy": "default-src 'self'"})

    async with bridge_for() as rig:
        rig.app.router.routes.append(Route("/page", page))
        answer = await rig.http.get("/page")
    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]


async def test_browsers_come_by_https_where_there_is_https():
    """Once a browser has come by HTTPS it never tries without."""
    async with bridge_for(settings_for(public_url="https://bridge.example")) as rig:
        answer = await rig.http.get("/healthz")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8080",
        "127.0.0.1",
        "127.8.9.1:1",
        "[::1]:8080",
        "LOCALHOST",
        "a.localhost",
        "told",
    ],
)
async def test_a_demo_answers_to_its_own_machine(host: str):
    """On the machine itself, and under its public address, a demo works without ado."""
    async with bridge_for(settings_for(**DEMO, public_url="http://told:1")) as rig:
        answer = await rig.http.get("/v1/actions", headers={"Host": host})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil",
        "[::1",
        "",
        "10.0.0.1",
        "localhost@evil.example:1",
        "0.0.0.0",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_name_that_leads_to_the_demo_by_dns_is_refused(host: str, method: str):
    """A page cannot reach a demo by a name of its own that it lets point to this machine."""
    async with bridge_for(settings_for(**DEMO)) as rig:
        answer = await rig.http.request(method, "/v1/runs", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "host_unknown")


CROSS = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://localhost:8080.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "cross-site"},
]
OWN = [
    {},
    {"Origin": "http://localhost:8080"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"},
    {"Origin": PORTAL, "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", [*CROSS, *OWN], ids=str)
async def test_a_page_of_another_site_cannot_drive_a_demo(headers: dict[str, str]):
    """A page that somebody happens to open starts nothing on their machine, and reads nothing."""
    async with bridge_for(settings_for(**DEMO, cors_origins=PORTAL)) as rig:
        del rig.http.headers["Authorization"]
        sent = {**headers, "Host": "localhost:8080"}
        answer = await rig.http.post("/v1/runs", json=THING, headers=sent)
        listed = await rig.http.get("/v1/runs", headers=sent)
        if headers in OWN:
            assert answer.status_code == 202
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
            assert listed.json()["runs"] == []
            assert "access-control-allow-origin" not in listed.headers


async def test_a_page_of_another_origin_may_do_nothing_by_default():
    """Without a setting no browser lets a page of another origin read or write."""
    async with bridge_for() as rig:
        preflight = await rig.http.options(
            "/v1/runs", headers={"Origin": PORTAL, "Access-Control-Request-Method": "POST"}
        )
        read = await rig.http.get("/v1/runs", headers={"Origin": PORTAL})
    assert preflight.status_code == 405
    for answer in (preflight, read):
        assert not any(name.startswith("access-control") for name in answer.headers)


async def test_a_listed_origin_may_call_the_api_with_a_token():
    """A portal that calls the bridge from the browser is let in by name, without cookies."""
    async with bridge_for(settings_for(cors_origins=f"{PORTAL}, http://localhost:3000")) as rig:
        asked = {
            "Origin": PORTAL,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
        }
        del rig.http.headers["Authorization"]
        preflight = await rig.http.options("/v1/runs", headers=asked)
        foreign = await rig.http.options(
            "/v1/runs", headers={**asked, "Origin": "https://evil.example"}
        )
        refused = await rig.http.get("/v1/runs", headers={"Origin": PORTAL})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == PORTAL
    assert "access-control-allow-credentials" not in preflight.headers
    assert foreign.headers.get("access-control-allow-origin") is None
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PORTAL)
    assert "Retry-After" in refused.headers["access-control-expose-headers"]
