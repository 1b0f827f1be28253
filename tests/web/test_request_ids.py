"""Every request has an id: in its answer, in the log and in the audit trail."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import structlog

from bridge.adapters.memory import MemoryStore
from bridge.ports import AuditFilter
from tests.web.making import THING, Rig, bridge_for

ID = "x-request-id"


async def source(rig: Rig) -> Any:
    """Where the request of the newest record came from."""
    return (await rig.store.audit_records(AuditFilter()))[0].draft.source


async def test_a_record_says_where_a_request_came_from():
    """An auditor finds the request in the log of the proxy and in that of the bridge."""
    async with bridge_for() as rig:
        answer = await rig.http.post("/v1/runs", json=THING, headers={ID: "trace-1:a/b"})
        found = await source(rig)
    assert answer.headers[ID] == "trace-1:a/b"
    assert (found.address, found.request) == ("127.0.0.1", "trace-1:a/b")


@pytest.mark.parametrize("given", [None, "", "a b", "é", "x" * 129, "-a"])
async def test_an_id_that_is_none_is_replaced(given: str | None):
    """Nobody writes into the log by an id, and nobody is without one."""
    headers = {} if given is None else {ID: given.encode()}
    async with bridge_for() as rig:
        answer = await rig.http.post("/v1/runs", json=THING, headers=headers)
        found = await source(rig)
        other = await rig.http.get("/healthz")
    assert answer.headers[ID] == found.request != given
    assert len(found.request) == 32
    assert other.headers[ID] != found.request


@pytest.mark.parametrize("path", ["/nowhere", "/v1/runs/none"])
async def test_a_refusal_has_an_id_too(path: str):
    """Whoever reports an error can say which request it was."""
    async with bridge_for() as rig:
        answer = await rig.http.get(path, headers={"Authorization": "Bearer x", ID: "trace-1"})
    assert answer.is_client_error
    assert answer.headers.get_list(ID) == ["trace-1"]


async def test_what_is_logged_for_a_request_has_its_id(caplog: pytest.LogCaptureFixture):
    """The lines of one request can be found among those of all others."""
    seen: list[Any] = []

    class Broken(MemoryStore):
        async def runs(self, chosen):
            seen.append(dict(structlog.contextvars.get_contextvars()))
            raise ZeroDivisionError(json.dumps(repr(chosen)))

    async with bridge_for(store=Broken()) as rig:
        with caplog.at_level(logging.ERROR):
            answer = await rig.http.get("/v1/runs", headers={ID: "trace-1"})
    assert answer.status_code == 500
    assert seen == [{"request": "trace-1"}]
    (crash,) = [record for record in caplog.records if record.message == "request failed"]
    assert crash.request == "trace-1"
    assert structlog.contextvars.get_contextvars() == {}
