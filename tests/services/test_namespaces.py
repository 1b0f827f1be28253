"""What workflows report of namespaces, and who gets to read it."""

from __future__ import annotations

from bridge.adapters.memory import MemoryStore
from bridge.domain.events import log
from bridge.services.namespaces import Namespaces
from tests.domain.making import new_run
from tests.services.fakes import FakeClock

ACME = "01kagw9zq6x3v5t7y8r2m4acme"
OURS = "01kagw9zq6x3v5t7y8r2m4ours"


def record(name: str, run_id: str = "", status: str = "active") -> dict[str, str]:
    """What a workflow reports."""
    return {"name": name, "status": status, "requestId": run_id}


async def kept() -> Namespaces:
    """Records of two tenants, and one that names no run."""
    store = MemoryStore()
    await store.accept(new_run(ACME, key="a", tenant="acme"), first=log("accepted"))
    await store.accept(new_run(OURS, key="b"), first=log("accepted"))
    namespaces = Namespaces(store=store, clock=FakeClock())
    for name, run_id in {"theirs": ACME, "ours": OURS, "by-hand": "", "old": "pruned"}.items():
        await namespaces.report(name, record(name, run_id), run_id=run_id)
    return namespaces


async def test_a_namespace_is_read_in_the_tenant_of_its_run():
    """No tenant learns which namespaces another one has; what names no run is the default's."""
    namespaces = await kept()
    assert await namespaces.of("acme") == [record("theirs", ACME)]
    assert await namespaces.of("default") == [
        record("by-hand"),
        record("old", "pruned"),
        record("ours", OURS),
    ]
    assert await namespaces.of("nobody") == []


async def test_a_report_replaces_the_one_before():
    """A namespace that was deleted is told once, as deleted."""
    namespaces = await kept()
    for _ in range(2):
        gone = record("theirs", ACME, "deleted")
        await namespaces.report("theirs", gone, run_id=ACME)
    assert await namespaces.of("acme") == [record("theirs", ACME, "deleted")]
