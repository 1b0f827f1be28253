"""A namespace through the real Backstage scaffolder: what its user gets."""

import pytest

from tests.e2e.conftest import TaskLog, form, parts, run_of, workflows_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_a_form_becomes_a_namespace_in_the_catalog(stack, portal, name):
    """A submitted form gives live lines for each step, outputs, and an owned, linked entity."""
    log = TaskLog(portal, portal.create(form(name, features=["monitoring", "backup"])))
    completion = log.to_the_end()
    entity = portal.entity("resource", name)
    run = run_of(stack, name)

    for step in ("validate", "create-namespace", "apply-quota", "bind-role", "verify/role-bound"):
        assert any(f"● {step} running" in line for line in log.lines), step
        assert any(f"✓ {step}" in line for line in log.lines), step
    assert "succeeded" in log.lines[-3]
    assert completion["message"].endswith("completed")
    links = completion["output"]["links"]
    assert {"resource:default/" + name} == {link.get("entityRef") for link in links} - {None}
    assert any(link.get("url", "").startswith("https://argo.example.com/") for link in links)
    assert run["requestedBy"] == "user:default/guest"
    assert entity["spec"]["owner"] == "group:default/team-a"
    assert name == entity["metadata"]["annotations"]["backstage.io/kubernetes-namespace"]
    assert run["id"] == entity["metadata"]["annotations"]["bridge/run"]
    assert workflows_for(stack, name) == [run["workflow"]["name"]]


def test_lines_arrive_while_the_work_is_done(portal, name):
    """The log is live: the first step is told seconds before the last, not all at the end."""
    log = TaskLog(portal, portal.create(form(name)))
    log.to_the_end()

    assert log.time_of("succeeded") - log.time_of("✓ validate") > 1.5


def test_no_relation_of_the_entity_dangles(portal, name):
    """The catalog reader can follow the owner and the cluster to entities that exist."""
    TaskLog(portal, portal.create(form(name))).to_the_end()
    entity = portal.entity("resource", name)
    targets = {relation["targetRef"] for relation in entity["relations"]}

    assert targets == {"group:default/team-a", "resource:default/local"}
    for target in targets:
        kind, _, short = target.partition(":default/")
        assert portal.entity(kind, short) is not None, target


def test_cancel_in_backstage_stops_the_workflow_and_rolls_back(stack, portal, name):
    """Cancelling the task stops Argo's work, removes what was made, and frees the name."""
    task = portal.create(form(name))
    log = TaskLog(portal, task)
    log.until("✓ create-namespace")
    portal.api("POST", f"/scaffolder/v2/tasks/{task}/cancel", {})
    log.to_the_end()
    run = run_of(stack, name)

    assert run["status"] == "cancelled"
    assert run["error"]["message"].startswith("Cancelled by ")
    assert any("✓ remove-namespace" in line for line in log.lines)
    assert portal.entity("resource", name) is None
    again = TaskLog(portal, portal.create(form(name)))
    assert again.to_the_end()["message"].endswith("completed")


def test_a_failed_step_fails_the_task_with_one_sentence(stack, portal, name):
    """A namespace that exists already fails the task, says why once, and is left alone."""
    TaskLog(portal, portal.create(form(name))).to_the_end()
    log = TaskLog(portal, portal.create(form(name, team="group:default/team-b")))
    completion = log.to_the_end()
    error = completion["error"]

    assert completion["message"].endswith("failed")
    assert "create-namespace failed" in error["message"]
    assert "already exists" in error["message"]
    assert "\n" not in error["message"]
    assert not [line for line in log.lines if "    at " in line or "node_modules" in line]
    assert portal.entity("resource", name)["spec"]["owner"] == "group:default/team-a"
    assert run_of(stack, name)["status"] == "failed"


def test_input_that_the_form_cannot_send_is_refused_with_every_field(stack, portal):
    """Whoever goes around the form is told every wrong field, and nothing reaches Argo."""
    values = form("Bad_Name", team="{{workflow.name}}", resourceTier="huge")

    with pytest.raises(parts.StackError) as refused:
        portal.create(values)

    assert "400" in str(refused.value)
    runs = parts.call("GET", f"{stack.bridge_url}/v1/runs?limit=200")["runs"]
    assert "Bad_Name" not in {run["input"]["namespaceName"] for run in runs}


def test_actions_page_shows_the_live_schema(portal):
    """Backstage lists the action with the schema that the bridge publishes."""
    actions = {action["id"]: action for action in portal.api("GET", "/scaffolder/v2/actions")}

    assert "bridge:action:run" in actions
    schema = actions["bridge:namespace:create"]["schema"]["input"]
    assert schema["properties"]["resourceTier"]["enum"] == ["small", "medium", "large"]
