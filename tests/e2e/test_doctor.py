"""``bridge doctor`` beside a real Backstage: what it says is what Backstage refuses for real."""

import json
import os
import subprocess
import sys

import pytest

from tests.e2e.conftest import parts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def doctor(stack, **changed):
    """The checks by name, with the settings of the running bridge."""
    told = subprocess.run(
        [sys.executable, "-m", "bridge", "doctor", "--json"],
        env={**os.environ, **stack.bridge.environment, **changed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    report = json.loads(told.stdout)
    assert report["ok"] is (told.returncode == 0)
    return {check["check"]: check for check in report["checks"]}


def test_the_example_has_nothing_to_mend(stack, portal):
    """Every check passes on the stack that the demo starts."""
    checks = doctor(stack)
    assert [c for c in checks.values() if c["outcome"] == "failed"] == []
    assert checks["Backstage: registration"]["outcome"] == "ok"
    assert checks["public address"]["outcome"] == "ok"


def test_what_is_registered_already_is_read_all_the_same(stack, portal):
    """On an installation that is in use, the catalog's way to the bridge is tried for real."""
    location = {"type": "url", "target": f"{stack.bridge_url}/catalog/resource/local.yaml"}
    portal.api("POST", "/catalog/locations?onConflict=refresh", location)
    registration = doctor(stack)["Backstage: registration"]
    assert registration["outcome"] == "ok"
    assert registration["detail"].startswith("the catalog reads ")


def test_an_address_that_backstage_may_not_read_is_told(stack, portal):
    """Without its host in reading.allow, the line for app-config.yaml is shown."""
    other = f"http://127.0.0.1:{parts.free_port()}"
    registration = doctor(stack, BRIDGE_PUBLIC_URL=other)["Backstage: registration"]
    assert registration["outcome"] == "failed"
    assert "reading.allow" in registration["detail"]
    assert f"{{host: '{other.removeprefix('http://')}'" in registration["mend"]


def test_a_token_that_backstage_does_not_know_is_told(stack, portal):
    """A token that app-config.yaml does not have is told apart from an outage."""
    catalog = doctor(stack, BRIDGE_BACKSTAGE_TOKEN="another-token")["Backstage: catalog"]
    assert catalog["outcome"] == "failed"
    assert "externalAccess" in catalog["mend"]
