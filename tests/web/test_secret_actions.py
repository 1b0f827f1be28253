"""Actions with secret fields: offered with a key, refused by file and line without one."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from tests.web.making import bridge_for, settings_for

ACTIONS = Path(__file__).parents[1] / "scenarios" / "actions"
KEY = SecretStr("key-of-the-operator-of-32-bytes!")


async def test_without_a_key_an_action_with_secrets_is_not_offered():
    """Nobody types a password that could not be kept, and the others are there."""
    async with bridge_for(settings_for(actions=ACTIONS)) as rig:
        listed = (await rig.http.get("/v1/actions")).json()
    assert "work:secret" not in {action["id"] for action in listed["actions"]}
    assert "work:steps" in {action["id"] for action in listed["actions"]}
    (problem,) = listed["problems"]
    assert (problem["file"], problem["line"]) == ("secret/action.yaml", 12)
    assert problem["message"].startswith("spec.input: password is secret")


async def test_with_a_key_it_is_offered_and_its_schema_says_what_is_secret(tmp_path: Path):
    """Forms and other clients know by the schema that a field must not be shown."""
    file = tmp_path / "key"
    file.write_text(KEY.get_secret_value())
    for given in ({"secret_key": KEY}, {"secret_key_file": file}):
        async with bridge_for(settings_for(actions=ACTIONS, **given)) as rig:
            listed = (await rig.http.get("/v1/actions")).json()
            action = (await rig.http.get("/v1/actions/work:secret")).json()
        assert listed["problems"] == []
        assert action["schema"]["input"]["properties"]["password"]["writeOnly"] is True
