"""``bridge doctor``: everything is tried by a real call, and what fails says how to mend it."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.cli import main
from bridge.doctor import as_table, examine, failing
from bridge.domain.checkups import Finding, Outcome
from bridge.localargo import LocalArgoSettings, create_app, serve, serve_app
from bridge.settings import Settings
from tests.cli.processes import NOWHERE, TOKEN, serving
from tests.postgres import PostgresServer
from tests.web.certificates import write_certificate

ACTIONS = Path(__file__).parents[2] / "backstage-actions" / "actions"
ARGO_TOKEN = "token-of-the-bridge-for-argo"
CATALOG_TOKEN = "token-of-the-bridge-for-backstage"
FORBIDDEN = (
    'workflows.argoproj.io is forbidden: User "system:serviceaccount:argo-bridge:argo-bridge" '
    'cannot create resource "workflows" in API group "argoproj.io"'
)


@pytest.fixture(autouse=True)
def _short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded Argo refuses at once too, and is silent for as long when nothing happens."""
    monkeypatch.setattr("bridge.doctor.argo._WATCH_SECONDS", 0.2)


def doctor(*arguments: str) -> Result:
    """The outcome of ``bridge doctor``."""
    return CliRunner().invoke(main, ["doctor", *arguments])


async def found(folder: Path, **changed: Any) -> dict[str, Finding]:
    """The findings by check, for settings that name nobody else."""
    given = {
        "tokens": SecretStr(f"tester={TOKEN}"),
        "database": folder / "bridge.db",
        "actions": ACTIONS,
        "argo_url": NOWHERE,
        "port": 0,
    }
    findings = await examine(Settings(**{**given, **changed}))
    return {finding.check: finding for finding in findings}


@asynccontextmanager
async def argo(*, refuses: tuple[str, str] | None = None) -> AsyncIterator[str]:
    """An Argo with the shipped templates that asks for a token.

    It *refuses* a method below a path, as one does whose Kubernetes does not allow the account so.
    """
    inner = create_app(LocalArgoSettings(templates=(ACTIONS,), token=ARGO_TOKEN))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        method, path = refuses or ("", "")
        hit = scope.get("method") == method and scope["path"].startswith(path)
        refused: ASGIApp = JSONResponse({"code": 7, "message": FORBIDDEN}, status_code=403)
        await (refused if hit else inner)(scope, receive, send)

    async with serve_app(cast("Starlette", app)) as url:
        yield url


# --- the installation ---------------------------------------------------------------------------


async def test_a_whole_installation_has_nothing_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who has set everything up right is told so, check by check, with exit code 0."""
    async with argo() as argo_url, backstage() as backstage_url:
        changed = {
            "BRIDGE_ARGO_URL": argo_url,
            "BRIDGE_ARGO_TOKEN": ARGO_TOKEN,
            "BRIDGE_BACKSTAGE_URL": backstage_url,
            "BRIDGE_BACKSTAGE_TOKEN": CATALOG_TOKEN,
            "BRIDGE_TOKENS": f"tester={TOKEN}",
            "BRIDGE_ACTIONS": str(ACTIONS),
        }
        with serving(tmp_path, **changed) as process:
            changed |= {
                "BRIDGE_PUBLIC_URL": process.url,
                "BRIDGE_DATABASE": str(tmp_path / "bridge.db"),
            }
            for name, value in changed.items():
                monkeypatch.setenv(name, value)
            shown = await asyncio.to_thread(doctor)
            told = await asyncio.to_thread(doctor, "--json")
    assert (shown.exit_code, told.exit_code) == (0, 0), shown.output
    report = json.loads(told.output)
    outcomes = {check["check"]: check["outcome"] for check in report["checks"]}
    assert report["ok"] is True
    assert [check for check, outcome in outcomes.items() if outcome == "skipped"] == [
        "Argo: stop, approve, read logs"
    ]
    assert set(outcomes) >= {
        "settings",
        "definitions",
        "store",
        "disk",
        "public address",
        "Argo",
        "Argo clock",
        "Argo: list workflows",
        "Argo: watch workflows",
        "Argo: get workflows",
        "Argo: create workflows",
        "template namespace-provisioning",
        "Backstage",
        "Backstage clock",
        "Backstage: keys of plugin scaffolder",
        "Backstage: keys of users",
        "Backstage: catalog",
        "Backstage: registration",
    }
    assert "✓ store" in shown.output


def test_settings_that_cannot_be_used_are_the_first_thing_told(monkeypatch: pytest.MonkeyPatch):
    """A typing mistake ends in a sentence, not in a stack, and shows no secret."""
    monkeypatch.setenv("BRIDGE_TOKENS", "ci=short-secret")
    shown = doctor()
    assert shown.exit_code == 1
    assert shown.output.startswith("✗ settings  failed   The token of 'ci'")
    assert "short-secret" not in shown.output


async def test_a_file_of_secrets_that_is_not_there_is_named(tmp_path: Path):
    """A Secret that was not mounted is found."""
    findings = await found(tmp_path, webhook_secrets_file=tmp_path / "none")
    assert findings["settings"].outcome == "failed"
    assert str(tmp_path / "none") in findings["settings"].detail


async def test_nothing_is_there_yet(tmp_path: Path):
    """Peers that cannot be reached are named with their address and the setting to look at."""
    alone = await found(tmp_path, public_url=NOWHERE)
    findings = await found(tmp_path, backstage_url=NOWHERE, public_url=NOWHERE)
    for finding, setting in (
        (findings["Argo"], "BRIDGE_ARGO_URL"),
        (findings["Backstage"], "BRIDGE_BACKSTAGE_URL"),
        (alone["public address"], "BRIDGE_PUBLIC_URL"),
    ):
        assert finding.outcome == "failed"
        assert NOWHERE in finding.detail
        assert setting in finding.mend
    assert findings["public address"].outcome == "skipped"  # Backstage's own look counts then
    assert findings["store"].outcome == "ok"
    assert "applied at the start" in findings["store"].detail


async def test_broken_definitions_are_counted(tmp_path: Path):
    """The first action with a mistake is named with file and line, the others are counted."""
    for name in ("broken", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "action.yaml").write_text("kind: x: y")
    finding = (await found(tmp_path, actions=tmp_path))["definitions"]
    assert finding.detail.startswith("broken/action.yaml:1: ")
    assert finding.detail.endswith("; 1 more")
    assert "bridge actions validate" in finding.mend


async def test_a_store_without_its_schema_is_found(tmp_path: Path, postgres_server: PostgresServer):
    """PostgreSQL that nobody has migrated is told with the command that does it."""
    with postgres_server.database(migrated=False) as address:
        bare = await found(tmp_path, database_url=SecretStr(address))
    with postgres_server.database() as address:
        current = await found(tmp_path, database_url=SecretStr(address))
    assert bare["store"].detail == "PostgreSQL lacks migration 0001_runs.sql"
    assert bare["store"].mend == "Run bridge migrate."
    assert current["store"].detail == "PostgreSQL, up to date"
    assert "disk" not in current


async def test_a_store_that_is_away_is_told_without_its_password(tmp_path: Path):
    """The address of the database is a secret; what is wrong with it is not."""
    address = "host=127.0.0.1 port=9 user=bridge password=hunter2hunter2 connect_timeout=2"
    finding = (await found(tmp_path, database_url=SecretStr(address)))["store"]
    assert finding.outcome == "failed"
    assert "hunter2" not in f"{finding}"


async def test_a_full_disk_is_told_before_the_store_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """There is time to enlarge the volume."""
    usage = shutil.disk_usage(tmp_path)._replace(free=100 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    finding = (await found(tmp_path))["disk"]
    assert finding.outcome == "failed"
    assert finding.detail.startswith("100 MiB are free")


async def test_a_certificate_that_ends_soon_is_told(tmp_path: Path):
    """The bridge's own certificate is read from its file; one that is none is told too."""
    chain, key = write_certificate(tmp_path)
    soon = await found(tmp_path, tls_cert_file=chain, tls_key_file=key)
    none = await found(tmp_path, tls_cert_file=key, tls_key_file=key)
    assert "it ends on" in soon["bridge certificate"].detail
    assert "BRIDGE_TLS_CERT_FILE" in none["bridge certificate"].mend


# --- Argo ---------------------------------------------------------------------------------------


async def test_a_token_that_argo_does_not_take_is_told(tmp_path: Path):
    """A wrong token is told apart from a wrong address, and is not shown."""
    async with argo() as url:
        findings = await found(tmp_path, argo_url=url, argo_token=SecretStr("wrong-token-of-mine"))
    assert findings["Argo"].detail.startswith("it refuses the token")
    assert "BRIDGE_ARGO_TOKEN_FILE" in findings["Argo"].mend
    assert "wrong-token-of-mine" not in f"{findings}"


RIGHTS = {
    "list workflows": ("GET", "/api/v1/workflows/argo-workflows", "list workflows"),
    "watch workflows": ("GET", "/api/v1/workflow-events/", "watch workflows"),
    "get workflows": ("GET", "/api/v1/workflows/argo-workflows/", "get workflows"),
    "create workflows": ("POST", "/api/v1/workflows/", "create workflows"),
    "get workflow templates": (("GET", "/api/v1/workflow-templates/", "get workflowtemplates")),
}


@pytest.mark.parametrize("right", RIGHTS)
async def test_a_right_that_is_missing_is_named(tmp_path: Path, right: str):
    """An account that lacks a right is found without a trace, with the command that shows it."""
    method, path, asked = RIGHTS[right]
    async with argo(refuses=(method, path)) as url:
        findings = await found(tmp_path, argo_url=url, argo_token=SecretStr(ARGO_TOKEN))
    finding = findings[f"Argo: {right}"]
    assert findings["Argo"].outcome == "ok"
    assert finding.outcome == "failed"
    assert finding.detail.endswith(FORBIDDEN)
    assert f"kubectl auth can-i {asked}.argoproj.io -n argo-workflows" in finding.mend


async def test_looking_leaves_nothing_behind(tmp_path: Path):
    """However often one looks, there is no workflow of it."""
    app = create_app(LocalArgoSettings(templates=(ACTIONS,)))
    async with serve_app(app) as url:
        findings = await found(tmp_path, argo_url=url)
        left = app.state.engine.log.past("argo-workflows", 0)[1]
    assert findings["Argo: create workflows"].outcome == "ok"
    assert list(left) == []


async def test_templates_are_compared_with_the_shipped_ones(tmp_path: Path):
    """A template that is missing, or of another version, comes with the command to install it."""
    shutil.copytree(ACTIONS, tmp_path / "old")
    old = tmp_path / "old" / "namespace-create" / "workflow.yaml"
    text = old.read_text()
    assert "name: team-name" in text
    old.write_text(text.replace("name: team-name", "name: group-name", 1))
    async with serve(LocalArgoSettings()) as url:
        missing = await found(tmp_path, argo_url=url)
    async with serve(LocalArgoSettings(templates=(tmp_path / "old",))) as url:
        other = await found(tmp_path, argo_url=url)
    check = "template namespace-provisioning"
    assert missing[check].detail == "not installed in argo-workflows"
    assert missing[check].mend == (
        f"kubectl apply -n argo-workflows -f {ACTIONS}/namespace-create/workflow.yaml"
    )
    assert "it has no parameter team-name" in other[check].detail


async def test_a_certificate_of_argo_that_ends_soon_is_told(tmp_path: Path):
    """What the server shows is looked at, by the authority that the settings name."""
    chain, key = write_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    body = b'{"version": "v4.1.2"}'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "localhost", 0, ssl=context)
    async with server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        trusted = await found(tmp_path, argo_url=url, ca_file=chain)
        stranger = await found(tmp_path, argo_url=url)
    assert trusted["Argo"].outcome == "ok"
    assert trusted["Argo certificate"].outcome == "failed"
    assert trusted["Argo clock"].detail == "it tells no date"
    assert stranger["Argo"].outcome == "failed"
    assert "CERTIFICATE_VERIFY_FAILED" in stranger["Argo"].detail


async def test_something_else_at_argos_address_is_no_argo(tmp_path: Path):
    """A proxy's or another service's page is told as what it is."""
    page = Starlette(routes=[Route("/{path:path}", lambda _: Response("<html></html>"))])
    for app in (Portal().app(), page):
        async with serve_app(app) as url:
            findings = await found(tmp_path, argo_url=url)
        assert findings["Argo"].outcome == "failed"
        assert "BRIDGE_ARGO_URL" in findings["Argo"].mend
        assert "Argo: list workflows" not in findings


# --- Backstage and issuers ----------------------------------------------------------------------


class Portal:
    """Answers of a Backstage backend, as measured (research: backstage-live, sections 2 and 7)."""

    def __init__(self, refusal: str = "", status: int = 400) -> None:
        self._refusal = refusal
        self._status = status
        self.locations: list[Mapping[str, Any]] = []

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/api/catalog/entities", self.entities),
                Route("/api/catalog/locations", self.locate, methods=["POST"]),
                Route("/api/scaffolder/.backstage/auth/v1/jwks.json", self.keys),
                Route("/api/auth/.well-known/jwks.json", self.keys),
            ]
        )

    async def entities(self, request: Request) -> Response:
        """One page, for whoever has the token."""
        if request.headers.get("authorization") != f"Bearer {CATALOG_TOKEN}":
            return _error("AuthenticationError", "Illegal token", 401)
        return JSONResponse([])

    async def locate(self, request: Request) -> Response:
        """A dry run of a location."""
        assert request.query_params["dryRun"] == "true"
        self.locations.append(await request.json())
        if self._refusal:
            return _error("InputError", self._refusal, self._status)
        return JSONResponse({"exists": False, "entities": []}, status_code=201)

    async def keys(self, _request: Request) -> Response:
        """A set of one key."""
        return JSONResponse({"keys": [{"kid": "1"}]})


def _error(name: str, message: str, status: int) -> Response:
    return JSONResponse({"error": {"name": name, "message": message}}, status_code=status)


@asynccontextmanager
async def backstage(portal: Portal | None = None) -> AsyncIterator[str]:
    """A served Portal."""
    async with serve_app((portal or Portal()).app()) as url:
        yield url


async def looked_at(folder: Path, portal: Portal, **changed: Any) -> dict[str, Finding]:
    """The findings with this Backstage."""
    async with backstage(portal) as url:
        given = {"backstage_url": url, "backstage_token": SecretStr(CATALOG_TOKEN)}
        return await found(folder, **{**given, **changed})


async def test_a_token_that_the_catalog_does_not_take_is_told(tmp_path: Path):
    """The entry that app-config.yaml needs is named, and nothing is tried without it."""
    portal = Portal()
    findings = await looked_at(tmp_path, portal, backstage_token=SecretStr("of-another-house"))
    assert findings["Backstage: catalog"].detail == "refuses the token: Illegal token"
    assert "externalAccess" in findings["Backstage: catalog"].mend
    assert "of-another-house" not in f"{findings}"
    assert portal.locations == []


@pytest.mark.parametrize(
    ("reason", "status", "mend"),
    [
        (
            (
                "Unable to read url, Error: Reading from 'http://x' is not allowed. You may need "
                "to configure an integration for the target host, or add it to the configured "
                "list of allowed hosts at 'backend.reading.allow'"
            ),
            400,
            "{host: 'bridge.example:8443', paths: ['/catalog/']}",
        ),
        (
            (
                "Entity resource:default/local at url:http://x is not of an allowed kind for that "
                "location"
            ),
            400,
            "catalog.rules must allow the kind Resource",
        ),
        ("Unauthorized", 403, "catalog.location.create"),
        ("Unable to read url, no matching files found for x", 400, "BRIDGE_PUBLIC_URL"),
    ],
)
async def test_what_keeps_the_catalog_from_reading_is_told_with_its_cure(
    tmp_path: Path, reason: str, status: int, mend: str
):
    """Each refusal of a registration names the line of app-config.yaml that ends it."""
    portal = Portal(reason, status)
    url = "http://bridge.example:8443"
    finding = (await looked_at(tmp_path, portal, public_url=url))["Backstage: registration"]
    assert finding.outcome == "failed"
    assert mend in finding.mend
    assert portal.locations == [{"type": "url", "target": f"{url}/catalog/resource/local.yaml"}]


class _Fast(datetime):
    """A clock that is a minute ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        """See datetime."""
        return datetime.now(tz) + timedelta(seconds=60)


async def test_a_clock_that_goes_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine whose clock is off is found before its tokens are refused."""
    monkeypatch.setattr("bridge.doctor.backstage.datetime", _Fast)
    findings = await looked_at(tmp_path, Portal())
    assert findings["Backstage clock"].outcome == "failed"
    assert "NTP" in findings["Backstage clock"].mend


async def test_keys_that_are_not_there_are_told(tmp_path: Path):
    """A plugin that this Backstage does not have is named."""
    findings = await looked_at(tmp_path, Portal(), trusted_plugins=("scaffolder", "forge"))
    assert findings["Backstage: keys of plugin scaffolder"].outcome == "ok"
    assert "404" in findings["Backstage: keys of plugin forge"].detail
    assert "BRIDGE_TRUSTED_PLUGINS" in findings["Backstage: keys of plugin forge"].mend


async def test_an_issuer_whose_keys_cannot_be_read_is_told(tmp_path: Path):
    """OpenID Connect is tried as for a token."""
    issuers = json.dumps([{"name": "house", "issuer": "http://127.0.0.1:9", "audience": "bridge"}])
    finding = (await found(tmp_path, oidc_issuers=issuers))["keys of http://127.0.0.1:9"]
    assert finding.outcome == "failed"
    assert "BRIDGE_OIDC_ISSUERS" in finding.mend


def test_a_report_says_what_to_mend_below_what_failed():
    """The table is for people: one line a check, the cure right below."""
    good = Finding("a", Outcome.OK, "fine")
    bad = Finding("b", Outcome.FAILED, "is wrong", "Do this.")
    table = as_table([good, bad])
    assert table.splitlines() == [
        "✓ a  ok       fine",
        "✗ b  failed   is wrong",
        "     → Do this.",
    ]
    assert failing([good, bad])
    assert not failing([good])
