"""A password in a form reaches the workflow, and nothing else."""

from __future__ import annotations

import pytest

from bridge.adapters.vault import KeyVault
from bridge.domain.errors import (
    EngineUnavailable,
    EngineUnreached,
    IdempotencyKeyReused,
    NotRetryable,
    SecretsUnreadable,
    StoreUnavailable,
)
from bridge.domain.runs import RunStatus
from bridge.services.control import Wish
from bridge.services.runs import Request
from tests.domain.making import DOCUMENT, node
from tests.domain.test_secret_inputs import FIELDS, HANDED, PARAMETERS, PASSWORD
from tests.services.fakes import APPLIED, lines
from tests.services.world import Outside, World, through_backstage

SECRET = "hunter2-hunter2"
KEY = b"key-of-the-operator-of-32-bytes!"
PARTS = {
    "input": {**DOCUMENT["spec"]["input"], "properties": {**FIELDS, "password": PASSWORD}},
    "workflow": {"template": "t", "parameters": {**PARAMETERS, "password": HANDED}},
}


@pytest.fixture
async def secret_world(outside: Outside) -> World:
    """A bridge with a key, and an action that takes a password."""
    outside.vault = KeyVault(lambda: (KEY,))
    made = World(outside)
    await made.start()
    made.define(**PARTS)
    return made


def handed(world: World, run) -> str | None:
    """The password that Argo got."""
    spec = world.engine.workflows[run.workflow_name]["spec"]
    given = {each["name"]: each["value"] for each in spec["arguments"]["parameters"]}
    return given.get("password")


def everything(world: World) -> str:
    """All that the store has."""
    return repr(world.store._memory)


async def test_the_workflow_gets_the_secret_and_the_run_does_not(secret_world: World):
    """What Argo is given is what was typed; what is kept and shown is ``***``."""
    run = await secret_world.ask(password=SECRET)
    assert handed(secret_world, run) == SECRET
    assert secret_world.run(run).input["password"] == "***"
    assert SECRET not in everything(secret_world)


async def test_a_field_that_was_left_out_is_left_out(secret_world: World):
    """A secret need not be required."""
    run = await secret_world.ask()
    assert handed(secret_world, run) is None
    assert "password" not in secret_world.run(run).input


async def test_a_restart_before_the_workflow_loses_no_secret(secret_world: World):
    """A run that was accepted is submitted as it was asked, by whoever takes it up."""
    world = secret_world
    world.engine.down = EngineUnreached("Argo is away")
    run = await world.ask(password=SECRET)
    again = await world.restart()
    again.engine.down = None
    await again.clock.until(lambda: run.workflow_name in again.engine.workflows)
    assert handed(again, run) == SECRET


async def test_what_a_workflow_says_shows_no_secret(secret_world: World):
    """A password that a pod prints, or that Argo quotes, is hidden from everybody who looks."""
    world = secret_world
    world.engine.pods["work"] = [(lines(f"connect with {SECRET}", "done"),)]
    run = await world.ask(password=SECRET)
    world.ended(
        run, node("work", phase="Failed", ended=3, message=f"cannot use {SECRET}"), phase="Failed"
    )
    ended = await world.finish(run)
    assert "work | connect with ***" in world.told(run)
    assert ended.error is not None
    assert SECRET not in ended.error.message
    assert SECRET not in everything(world)


async def test_it_is_hidden_after_a_restart_too(secret_world: World):
    """Whoever takes up the run knows what must not be told."""
    run = await secret_world.ask(password=SECRET)
    again = await secret_world.restart()
    again.ended(
        run, node("work", phase="Failed", ended=3, message=f"cannot use {SECRET}"), phase="Failed"
    )
    await again.finish(run)
    assert SECRET not in everything(again)


@pytest.mark.parametrize("faults", [0, 1])
async def test_it_is_hidden_in_what_a_workflow_of_unknown_creation_says(
    secret_world: World, monkeypatch: pytest.MonkeyPatch, faults: int
):
    """A process that does not know yet whether the workflow was made knows what to hide of it."""
    world = secret_world
    down = EngineUnavailable("cut")
    world.engine.faults["create"].append((APPLIED, down))
    world.engine.end_watches(down)
    world.engine.faults["listing"].extend([down] * 9)
    run = await world.ask(password=SECRET)
    assert world.run(run).status is RunStatus.SUBMITTING
    message = f"cannot use {SECRET}"
    failed = node("work", phase="Failed", ended=3, message=message)
    world.engine.show(run.workflow_name, failed, quietly=True)
    sealed, calls = world.store.sealed, []

    async def seldom(run_id: str) -> str | None:
        calls.append(run_id)
        if len(calls) <= faults:
            raise StoreUnavailable("away")
        return await sealed(run_id)

    world.engine.faults.clear()
    monkeypatch.setattr(world.store, "sealed", seldom)
    again = await world.restart()
    await again.clock.until(lambda: "✗ work failed (3 s): cannot use ***" in again.told(run))
    assert SECRET not in everything(again)


async def test_outputs_show_no_secret(secret_world: World):
    """A workflow that gives its password back does not put it into the catalog or the task."""
    run = await secret_world.ask(password=SECRET)
    outputs = {"parameters": [{"name": "thing", "value": f"a {SECRET}"}]}
    secret_world.ended(run, node("work", phase="Succeeded", ended=3), outputs=outputs)
    ended = await secret_world.finish(run)
    assert ended.outputs["thing"] == "a ***"
    assert SECRET not in everything(secret_world)


async def test_the_end_of_the_run_ends_its_secrets(secret_world: World):
    """What is not needed any more is not kept, not even sealed."""
    run = await secret_world.ask(password=SECRET)
    assert await secret_world.store.sealed(run.id) is not None
    secret_world.ended(run, phase="Failed")
    await secret_world.finish(run)
    assert await secret_world.store.sealed(run.id) is None
    assert secret_world.secrets._redaction._of_runs == {}


async def test_the_same_request_is_known_again_and_another_password_is_another(
    secret_world: World,
):
    """Pressing twice makes one run; the same key with another password is refused."""
    one = await secret_world.ask(password=SECRET, key="k")
    assert (await secret_world.ask(password=SECRET, key="k")).id == one.id
    with pytest.raises(IdempotencyKeyReused):
        await secret_world.ask(password=SECRET + "x", key="k")


async def test_a_retry_asks_for_the_secrets_again(secret_world: World):
    """What is gone cannot be given once more; the same form can."""
    world = secret_world
    run = await world.ask(password=SECRET, key="k")
    world.ended(run, node("work", phase="Failed", ended=3), phase="Failed")
    await world.finish(run)
    caller = through_backstage("user:default/ann")
    for mode in ("attempt", "workflow"):
        with pytest.raises(NotRetryable, match="ask for it again by the form"):
            await world.control.retry(Wish(run.id, caller), mode)
    again = await world.ask(password=SECRET, key="k")
    assert again.attempt == 2
    assert handed(world, again) == SECRET


async def test_a_retry_in_argo_itself_is_left_to_argo(secret_world: World):
    """What the workflow says now could not be hidden: it is not told, and looked at once only."""
    world = secret_world
    run = await world.ask(password=SECRET)
    world.ended(run, node("work", phase="Failed", ended=3), phase="Failed")
    await world.finish(run)
    before = len(world.engine.called("get"))
    for step in ("one", "two", "three"):
        message = f"cannot use {SECRET}"
        shown = node(step, phase="Failed", started=60, ended=63, message=message)
        started = {"startedAt": "2026-11-22T12:00:00Z"}
        world.engine.show(run.workflow_name, shown, phase="Running", **started)
        await world.clock.settle()
    assert len(world.engine.called("get")) == before + 1
    assert world.run(run).superseded_by is None
    assert SECRET not in everything(world)


async def test_a_preview_shows_no_secret(secret_world: World):
    """A dry run shows the workflow as it would be, but for the password."""
    request = Request(
        "thing:make",
        {"name": "a", "password": SECRET},
        caller=through_backstage("user:default/ann"),
    )
    shown = await secret_world.runs.preview(request)
    assert shown["input"]["password"] == "***"
    assert SECRET not in repr(shown)


async def test_a_key_that_changed_ends_what_was_not_submitted(secret_world: World):
    """The person who asked is told to ask again, and nothing is made without the password."""
    world = secret_world
    world.engine.down = EngineUnreached("Argo is away")
    run = await world.ask(password=SECRET)
    world.outside.vault = KeyVault(lambda: (b"another-key-of-32-bytes-or-more!",))
    again = await world.restart()
    again.engine.down = None
    ended = await again.finish(run)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert ended.error.code == "secrets_unreadable"
    assert again.engine.workflows == {}


async def test_a_key_that_changed_does_not_stop_what_runs(secret_world: World):
    """A workflow that has its password goes on, and is followed to its end."""
    run = await secret_world.ask(password=SECRET)
    secret_world.outside.vault = None
    again = await secret_world.restart()
    again.ended(run, phase="Failed")
    assert (await again.finish(run)).status is RunStatus.FAILED


async def test_without_a_key_a_secret_is_refused(world: World):
    """Nothing is stored in clear because somebody forgot a setting."""
    world.define(**PARTS)
    with pytest.raises(SecretsUnreadable, match="set BRIDGE_SECRET_KEY"):
        await world.ask(password=SECRET)
    assert SECRET not in everything(world)
