"""Checks of Argo: is it there, does it take the token, what may the bridge do, is all installed.

Knows Argo's REST API as far as it can be asked without a trace (research: argo, sections 1.2 and
1.3). Must not change anything: a creation is a dry run by Kubernetes itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import quote

from bridge.adapters.argo import ArgoEngine, ArgoTarget
from bridge.adapters.definitions import DefinitionFolders, shipped_templates
from bridge.adapters.http import HttpClient, Token, client, tls_context, token_source
from bridge.adapters.probe import Answer, NoAnswer, Probe
from bridge.domain.actions import ActionDefinition
from bridge.domain.checkups import (
    Finding,
    Outcome,
    certificate_of,
    clock_of,
    differences,
    failed,
    ok,
    parameter_problems,
    skipped,
)
from bridge.domain.definitions import Catalogue
from bridge.domain.errors import EngineError, EngineForbidden
from bridge.domain.runs import INSTANCE_LABEL
from bridge.settings import Settings

_SECONDS = 10.0
_WATCH_SECONDS = 3.0
_SHOWN = 3
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_REACH = (
    "Let BRIDGE_ARGO_URL be the address of the Argo Server as this machine reaches it (http or "
    "https as the server is started), and look at network policies between."
)
_LET_IN = (
    "Put a token of the bridge's ServiceAccount into BRIDGE_ARGO_TOKEN_FILE, and start the Argo "
    "Server with --auth-mode=client."
)


async def check_argo(settings: Settings) -> list[Finding]:
    """Everything of the Argo Server of the settings; what cannot be asked is skipped."""
    given = settings.argo_token.get_secret_value() if settings.argo_token is not None else None
    token = token_source(value=given, file=settings.argo_token_file)
    tls = tls_context(verify=settings.argo_verify_tls, ca_file=settings.ca_file)
    connect = partial(client, settings.argo_url, timeout=_SECONDS, verify=tls)
    async with connect(connections=4) as http:
        target = ArgoTarget(settings.argo_namespace, _selector(settings))
        streams = partial(connect, connections=1)
        engine = ArgoEngine(target, control=http, streams=streams, token=token)
        try:
            return await _Checks(settings, http, token, engine).all()
        except NoAnswer as error:
            return [failed("Argo", f"{settings.argo_url}: {error}", mend=_REACH)]


def _selector(settings: Settings) -> str:
    return f"{INSTANCE_LABEL}={settings.instance}"


class _Checks:
    """What is asked of one server; any method raises NoAnswer when it has gone."""

    def __init__(
        self, settings: Settings, http: HttpClient, token: Token, engine: ArgoEngine
    ) -> None:
        self._settings = settings
        self._probe = Probe(http, token=token, patience=_SECONDS)
        self._engine = engine
        self._namespace = settings.argo_namespace
        place = quote(self._namespace, safe="")
        self._workflows = f"/api/v1/workflows/{place}"
        self._events = f"/api/v1/workflow-events/{place}"
        self._templates = f"/api/v1/workflow-templates/{place}"

    async def all(self) -> list[Finding]:
        """From the connection to the templates."""
        version = await self._probe.ask("GET", "/api/v1/version")
        now = datetime.now(UTC)
        reached = self._reached(version)
        if reached.outcome is not Outcome.OK:
            return [reached]
        return [
            reached,
            clock_of("Argo", here=now, there=version.date),
            *_certificate(version),
            await self._list(),
            await self._watch(),
            await self._get(),
            await self._create(),
            self._control(),
            *await self._all_templates(),
        ]

    def _reached(self, answer: Answer) -> Finding:
        if answer.status in _REFUSED:
            return failed("Argo", f"it refuses the token: {answer.reason}", mend=_LET_IN)
        version = answer.body.get("version") if isinstance(answer.body, dict) else None
        if not answer.good or not version:
            reason = answer.reason or "something else"
            return failed("Argo", f"{self._settings.argo_url} answers {reason}", mend=_REACH)
        return ok("Argo", f"{version} at {self._settings.argo_url}")

    # --- rights ------------------------------------------------------------------------------

    async def _list(self) -> Finding:
        try:
            await self._engine.ping()
        except EngineForbidden as error:
            return self._refused("list workflows", "list", error.detail)
        except EngineError as error:
            return failed("Argo: list workflows", error.detail, mend=_REACH)
        return self._right("list workflows", "list", None)

    async def _watch(self) -> Finding:
        refused = await self._probe.refusal(
            self._events,
            query={"listOptions.labelSelector": _selector(self._settings)},
            within=_WATCH_SECONDS,
        )
        return self._right("watch workflows", "watch", refused)

    async def _get(self) -> Finding:
        name = f"bridge-doctor-{secrets.token_hex(4)}"
        answer = await self._probe.ask("GET", f"{self._workflows}/{name}")
        there_is_none = answer.status == HTTPStatus.NOT_FOUND
        return self._right("get workflows", "get", None if there_is_none else answer)

    async def _create(self) -> Finding:
        """``serverDryRun`` goes to Kubernetes with dryRun=All (argo-recordings/submit-dry-run)."""
        workflow = {
            "metadata": {
                "name": f"bridge-doctor-{secrets.token_hex(4)}",
                "namespace": self._namespace,
            },
            "spec": {"entrypoint": "check", "templates": [{"name": "check", "suspend": {}}]},
        }
        body = {"namespace": self._namespace, "serverDryRun": True, "workflow": workflow}
        answer = await self._probe.ask("POST", self._workflows, body=body)
        return self._right("create workflows", "create", answer)

    def _control(self) -> Finding:
        return skipped(
            "Argo: stop, approve, read logs",
            "cannot be tried without a workflow",
            mend="kubectl auth can-i patch workflows.argoproj.io, update workflows.argoproj.io and "
            f"get pods/log, each with -n {self._namespace} --as the bridge's ServiceAccount.",
        )

    def _right(self, what: str, verb: str, answer: Answer | None) -> Finding:
        """*answer* is None when nothing refused it."""
        check = f"Argo: {what}"
        if answer is None or answer.good:
            return ok(check, f"allowed in {self._namespace}")
        if answer.status in _REFUSED:
            return self._refused(what, verb, answer.reason)
        return failed(check, f"{answer.status}: {answer.reason}", mend=_REACH)

    def _refused(self, what: str, verb: str, reason: str) -> Finding:
        kind = what.partition(" ")[2].replace(" ", "")
        return failed(
            f"Argo: {what}",
            reason,
            mend=f"Bind the bridge's Role in {self._namespace} to the account of its token: "
            f"kubectl auth can-i {verb} {kind}.argoproj.io -n {self._namespace} --as that "
            f"account says whether it is. If the token itself is refused: {_LET_IN}",
        )

    # --- templates ---------------------------------------------------------------------------

    async def _all_templates(self) -> list[Finding]:
        folder = self._settings.actions
        catalogue = DefinitionFolders((folder,)).load(last_good=Catalogue(files={}))
        shipped = shipped_templates(folder)
        return [
            await self._template(action, shipped.get(action.spec.workflow.template))
            for action in catalogue.actions.values()
        ]

    async def _template(
        self, action: ActionDefinition, shipped: Mapping[str, Any] | None
    ) -> Finding:
        name = action.spec.workflow.template
        check = f"template {name}"
        answer = await self._probe.ask("GET", f"{self._templates}/{quote(name, safe='')}")
        install = (
            f"kubectl apply -n {self._namespace} -f "
            f"{self._settings.actions}/{action.id.replace(':', '-')}/workflow.yaml"
        )
        if answer.status == HTTPStatus.NOT_FOUND:
            return failed(check, f"not installed in {self._namespace}", mend=install)
        if not answer.good or not isinstance(answer.body, dict):
            return self._right("get workflow templates", "get", answer)
        problems = parameter_problems(
            answer.body, passed=tuple(action.spec.workflow.parameters), shipped=shipped
        )
        if problems:
            return failed(check, f"{action.id}: {_some(problems)}", mend=install)
        return ok(check, _likeness(shipped, answer.body))


def _likeness(shipped: Mapping[str, Any] | None, installed: Mapping[str, Any]) -> str:
    if shipped is None:
        return "installed; none was shipped to compare it with"
    changed = differences(shipped.get("spec"), installed.get("spec"), path="spec")
    first = next(changed, None)
    return f"installed; differs from the shipped at {first}" if first else "installed as shipped"


def _some(problems: Iterable[str]) -> str:
    return "; ".join(islice(problems, _SHOWN))


def _certificate(answer: Answer) -> list[Finding]:
    if answer.certificate_ends is None:
        return []
    return [certificate_of("Argo", ends=answer.certificate_ends, now=datetime.now(UTC))]
