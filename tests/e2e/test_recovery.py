"""Backstage and the bridge are killed in the middle of a run: nothing twice, nothing lost."""

import pytest

from tests.e2e.conftest import READY_SECONDS, TaskLog, form, parts, run_of, workflows_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def told_by_the_bridge(stack, run_id):
    """Every line that the run has to show."""
    page = parts.call("GET", f"{stack.bridge_url}/v1/runs/{run_id}/events?limit=1000")
    return [event["message"] for event in page["events"] if event["message"]]


def test_a_killed_backend_takes_its_task_up_again(stack, portal, name):
    """A task survives SIGKILL and a restart of Backstage: one workflow, no missing line."""
    task = portal.create(form(name, features=["monitoring"]))
    TaskLog(portal, task).until("✓ validate")
    stack.backstage.kill()
    stack.backstage.start()
    stack.backstage.wait_ready(within=READY_SECONDS)
    back = parts.Portal.sign_in(stack.backstage_url)
    log = TaskLog(back, task)
    completion = log.to_the_end()
    run = run_of(stack, name)

    assert completion["message"].endswith("completed")
    assert workflows_for(stack, name) == [run["workflow"]["name"]]
    assert run["attempt"] == 1
    shown = [line.partition(": ")[2] for line in log.lines]
    missing = [line for line in told_by_the_bridge(stack, run["id"]) if line not in shown]
    assert missing == []


def test_a_killed_bridge_goes_on_where_it_was(stack, portal, name):
    """After SIGKILL and a restart of the bridge the task ends well, each line told once."""
    task = portal.create(form(name))
    log = TaskLog(portal, task)
    log.until("✓ validate")
    stack.bridge.kill()
    stack.bridge.start()
    stack.bridge.wait_ready(within=READY_SECONDS)
    completion = log.to_the_end()
    run = run_of(stack, name)

    assert completion["message"].endswith("completed")
    assert workflows_for(stack, name) == [run["workflow"]["name"]]
    told = told_by_the_bridge(stack, run["id"])
    shown = [line.partition(": ")[2] for line in log.lines]
    assert sorted(set(told)) == sorted(told)
    assert [shown.count(line) for line in told] == [1] * len(told)


def test_a_run_waits_for_an_argo_that_is_away(stack, portal, name):
    """While Argo is down the task says so and waits; when it returns the work is done."""
    stack.argo.kill()
    log = TaskLog(portal, portal.create(form(name)))
    waiting = log.until("goes on when Argo answers")
    stack.argo.start()
    completion = log.to_the_end()

    assert "warn" in waiting
    assert completion["message"].endswith("completed")
    assert len(workflows_for(stack, name)) == 1
