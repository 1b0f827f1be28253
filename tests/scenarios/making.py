"""What ``work:steps`` tells when all goes well, and what must hold of it however it went."""

from __future__ import annotations

from typing import Any

from tests.scenarios.stage import Asked, Stage

TESTER, APPROVER, OTHER, BRIDGE = "service:tester", "service:approver", "service:other", "bridge"
ACCEPTED = ("run.accept", TESTER, "", "done")
STEPS = ["✓ first", "⏸ waiting for hold", "✓ hold", "✓ last", "✓ work:steps succeeded"]
SAID = ["making thing", "made thing"]


async def succeeded(stage: Stage, run: Asked) -> dict[str, Any]:
    """Wait for the good end: every step told once and in order, one workflow in Argo."""
    end = await run.reader.end()
    assert end["status"] == "succeeded", run.reader.lines
    assert run.reader.steps == STEPS, run.reader.lines
    for step in ("first", "last"):
        run.reader.check_spoken(step, SAID)
    assert stage.argo.calls(run.workflow).count("create") == 1
    return await stage.run(run)


async def ended(stage: Stage, run: Asked, status: str, code: str) -> str:
    """Wait for another end; the sentence that says why."""
    end = await run.reader.end()
    assert (end["status"], end["error"]["code"]) == (status, code), run.reader.lines
    shown = await stage.run(run)
    assert (shown["status"], shown["error"]) == (status, end["error"])
    assert stage.argo.calls(run.workflow).count("create") == 1
    return str(end["error"]["message"])


async def waiting(stage: Stage, action: str = "work:gate") -> Asked:
    """A run that waits for an approval."""
    run = await stage.ask(action)
    await run.reader.told("⏸ waiting for approval by service:tester or service:approver")
    await stage.until(run, "waiting")
    return run
