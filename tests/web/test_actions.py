"""``/v1/actions``: what Backstage builds its scaffolder actions from."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.web.making import ACTIONS, bridge_for, settings_for


async def test_every_action_is_listed_with_its_schemas():
    """Backstage shows the actions, their input and an example without knowing the bridge."""
    async with bridge_for() as rig:
        answer = await rig.http.get("/v1/actions")
    assert answer.status_code == 200
    (action,) = answer.json()["actions"]
    assert action == {
        "id": "thing:make",
        "title": "Make a thing",
        "description": "Makes a thing.",
        "owner": "group:default/platform",
        "schema": {
            "input": action["schema"]["input"],
            "output": {
                "type": "object",
                "properties": {"thing": {"type": "string", "examples": ["a-thing"]}},
            },
        },
        "examples": [{"description": "a small thing", "input": {"name": "small"}}],
        "workflow": {"target": "default", "template": "make-thing"},
        "wait": True,
        "maxWaitSeconds": action["maxWaitSeconds"],
        "supportsDryRun": True,
    }
    assert action["schema"]["input"]["required"] == ["name"]
    assert action["maxWaitSeconds"] > 0
    assert answer.json()["problems"] == []


async def test_a_list_that_the_caller_has_is_not_sent_again():
    """Polling for changed actions costs next to nothing."""
    async with bridge_for() as rig:
        tag = (await rig.http.get("/v1/actions")).headers["etag"]
        again = await rig.http.get("/v1/actions", headers={"If-None-Match": f'"other", {tag}'})
        other = await rig.http.get("/v1/actions", headers={"If-None-Match": '"other"'})
        whatever = await rig.http.get("/v1/actions", headers={"If-None-Match": "*"})
    assert tag.startswith('"')
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (other.status_code, whatever.status_code) == (200, 304)


async def test_one_action_is_shown_by_its_id():
    """The page of an action has an address of its own."""
    async with bridge_for() as rig:
        listed = (await rig.http.get("/v1/actions")).json()["actions"][0]
        answer = await rig.http.get("/v1/actions/thing:make")
    assert (answer.status_code, answer.json()) == (200, listed)
    assert answer.headers["etag"].startswith('"')


async def test_a_mistyped_action_gets_a_suggestion():
    """Somebody who mistypes an id reads which one was meant."""
    async with bridge_for() as rig:
        answer = await rig.http.get("/v1/actions/thing:mak")
    assert answer.status_code == 404
    assert answer.json()["code"] == "action_unknown"
    assert answer.json()["suggestions"] == ["thing:make"]


async def test_a_broken_definition_is_named_and_the_others_work(tmp_path: Path):
    """One team's mistake takes no other team's action down."""
    shutil.copytree(ACTIONS, tmp_path, dirs_exist_ok=True)
    broken = tmp_path / "broken" / "action.yaml"
    broken.parent.mkdir()
    broken.write_text("apiVersion: bridge/v1\nkind: Action\nmetadata: [\n")
    async with bridge_for(settings_for(actions=tmp_path)) as rig:
        catalogue = (await rig.http.get("/v1/actions")).json()
        ready = await rig.http.get("/readyz")
    assert [action["id"] for action in catalogue["actions"]] == ["thing:make"]
    (problem,) = catalogue["problems"]
    assert (problem["file"], problem["line"]) == ("broken/action.yaml", 4)
    assert ready.status_code == 200
    assert "broken/action.yaml:4" in ready.json()["checks"]["definitions"]
