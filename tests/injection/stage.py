"""A bridge with the shipped actions on an Argo, and a look at what a value became.

Knows how the product is composed, and the places to which a value of ``namespace:create`` goes.
The Argo is the embedded one, or by ``INJECTION_ARGO_URL`` (with ``INJECTION_ARGO_NAMESPACE`` and
``INJECTION_ARGO_TOKEN_FILE``) a real one, whose objects are read with kubectl.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import yaml
from pydantic import SecretStr

from bridge.bootstrap import open_bridge
from bridge.localargo import LocalArgoSettings, create_app, serve_app
from bridge.localargo.objects import ObjectStore
from bridge.settings import Settings
from bridge.web.server import server_for

ACTIONS = Path(__file__).parents[2] / "backstage-actions" / "actions"
REAL = os.environ.get("INJECTION_ARGO_URL") or None
PATIENCE_SECONDS = 900.0 if REAL else 60.0
_PAUSE_SECONDS = 10.0 if REAL else 0.5
TOKEN = "a-token-of-the-injection-tests"

Object = dict[str, Any]


class Objects(Protocol):
    """The cluster to which the workflows write."""

    async def namespace(self, name: str) -> Object:
        """The namespace object."""
        ...

    async def within(self, namespace: str) -> set[str]:
        """What is in it, as ``Kind/name``."""
        ...

    async def remove(self, namespace: str) -> None:
        """Remove the namespace with all that is in it."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryObjects:
    """What the embedded Argo keeps."""

    store: ObjectStore

    async def namespace(self, name: str) -> Object:
        """See Objects."""
        (found,) = [o for o in self.store.list("Namespace") if o["metadata"]["name"] == name]
        return found

    async def within(self, namespace: str) -> set[str]:
        """See Objects; an object that is nowhere is everybody's."""
        return {
            f"{o['kind']}/{o['metadata']['name']}"
            for o in self.store.list()
            if o["kind"] != "Namespace" and o["metadata"].get("namespace") in {namespace, None, ""}
        }

    async def remove(self, namespace: str) -> None:
        """See Objects."""


class KubectlObjects:
    """What a real cluster has, of the kinds that the workflow makes."""

    _KINDS = "resourcequotas,limitranges,serviceaccounts,roles,rolebindings,networkpolicies"

    async def namespace(self, name: str) -> Object:
        """See Objects."""
        found: Object = json.loads(await _kubectl("get", "namespace", name, "-o", "json"))
        return found

    async def within(self, namespace: str) -> set[str]:
        """See Objects; of cluster roles too, which no run of this action makes."""
        own = await _kubectl("get", self._KINDS, "-n", namespace, "-o", "name")
        wide = await _kubectl("get", "clusterroles,clusterrolebindings", "-o", "name")
        return {*own.split(), *wide.split()}

    async def remove(self, namespace: str) -> None:
        """See Objects."""
        await _kubectl("delete", "namespace", namespace, "--wait=false")


async def _kubectl(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "kubectl", *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, arguments
    return out.decode()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left in each place to which a value goes."""

    run: Object
    stream: str
    workflow: Object
    namespace: Object
    within: set[str]
    entity: Object

    @property
    def parameters(self) -> dict[str, str]:
        """The workflow's parameters as Argo holds them."""
        given = self.workflow["spec"]["arguments"]["parameters"]
        return {parameter["name"]: parameter["value"] for parameter in given}

    @property
    def events(self) -> list[Object]:
        """The events of the stream, read as a browser reads them."""
        blocks = [block for block in self.stream.split("\n\n") if "data: " in block]
        return [json.loads(block.partition("data: ")[2]) for block in blocks]

    @property
    def shape(self) -> Object:
        """What is the same for every run of the action with other texts in it."""
        name, metadata = self.workflow["metadata"]["name"], self.namespace["metadata"]
        nodes = self.workflow["status"]["nodes"].values()
        return {
            "nodes": {n["name"].removeprefix(name): (n["type"], n["phase"]) for n in nodes},
            "labels": sorted(metadata["labels"]),
            "annotations": sorted(metadata["annotations"]),
            "within": {kind.partition("-deployer")[0].partition("/")[0] for kind in self.within},
            "count": len(self.within),
            "entity": keys_of(self.entity),
            "run": keys_of(self.run),
            "events": sorted({event["type"] for event in self.events}),
        }


def keys_of(value: Any) -> Any:
    """The fields of a document without their values; lists as long as they are."""
    match value:
        case dict():
            return {key: keys_of(item) for key, item in value.items()}
        case list():
            return [keys_of(item) for item in value]
        case _:
            return type(value).__name__


@dataclass(frozen=True, slots=True)
class Stage:
    """A bridge, its Argo and the cluster."""

    http: httpx.AsyncClient
    argo: httpx.AsyncClient
    objects: Objects

    async def ask(self, given: Any, **context: Any) -> httpx.Response:
        """``POST /v1/runs`` for ``namespace:create``."""
        body = {"action": "namespace:create", "input": given, "context": context}
        return await self.http.post("/v1/runs", content=json.dumps(body))

    async def outcome(self, run: Object) -> Outcome:
        """Wait for the end of a run that was accepted, and look at all that it left."""
        path = run["links"]["self"]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (shown := (await self.http.get(path)).json())["finishedAt"]:  # noqa: ASYNC110 - HTTP
                await asyncio.sleep(_PAUSE_SECONDS)
        accept = {"Accept": "text/event-stream"}
        stream = await self.http.get(f"{path}/events", headers=accept)
        name = shown["input"]["namespaceName"]
        assert shown["status"] == "succeeded", stream.text
        place = f"/api/v1/workflows/{shown['workflow']['namespace']}/{shown['workflow']['name']}"
        entity = await self.http.get(f"/catalog/resource/{name}.yaml")
        (document,) = yaml.load_all(entity.text, Loader=yaml.CSafeLoader)
        return Outcome(
            run=shown,
            stream=stream.text,
            workflow=(await self.argo.get(place)).json(),
            namespace=await self.objects.namespace(name),
            within=await self.objects.within(name),
            entity=document,
        )


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    """A bridge with an empty store in *folder*."""
    async with AsyncExitStack() as stack:
        objects: Objects = KubectlObjects()
        url, settings = REAL, dict[str, Any]()
        if url is None:
            app = create_app(LocalArgoSettings(templates=(ACTIONS,), log_seconds=0.02))
            url = await stack.enter_async_context(serve_app(app))
            objects = MemoryObjects(app.state.objects)
        else:
            settings["argo_namespace"] = os.environ.get(
                "INJECTION_ARGO_NAMESPACE", "argo-workflows"
            )
            settings["argo_token_file"] = os.environ.get("INJECTION_ARGO_TOKEN_FILE")
        bridge = await stack.enter_async_context(
            open_bridge(
                Settings(
                    actions=ACTIONS,
                    argo_url=url,
                    database=folder / "bridge.db",
                    tokens=SecretStr(f"tester={TOKEN}"),
                    public_url="http://bridge.example",
                    **settings,
                )
            )
        )
        server = server_for(bridge.app(), host="127.0.0.1", port=0, drain=bridge.drain)
        serving = asyncio.ensure_future(server.serve())
        await server.ready.wait()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        port = server.servers[0].sockets[0].getsockname()[1]
        bridge_http = _client(f"http://127.0.0.1:{port}", headers)
        argo_http = _client(url, _argo_headers(settings))
        try:
            async with bridge_http, argo_http:
                yield Stage(bridge_http, argo_http, objects)
        finally:
            server.should_exit = True
            await serving


def _client(url: str, headers: Mapping[str, str]) -> httpx.AsyncClient:
    """A client whose requests never meet a connection that the server is closing."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_SECONDS, limits=limits)


def _argo_headers(settings: Mapping[str, Any]) -> dict[str, str]:
    file = settings.get("argo_token_file")
    return {"Authorization": f"Bearer {Path(file).read_text().strip()}"} if file else {}
