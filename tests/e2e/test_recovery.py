"""Backstage and the bridge are killed in the middle of a run: nothing twice, nothing lost."""

import pytest

from tests.e2e.conftest import READY_SECONDS, TaskLog, form, parts, run_of, workflows_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def told_by_the_bridge(stack, run_id):
    """Every line that the run has to show, in order."""
    page = parts.call("GET", f"{stack.bridge_url}/v1/runs/{run_id}/events?limit=1000")
    return [
        line
        for event in page["events"]
        if event["message"]
        for line in event["message"].split("\n")
    ]


def lines_of_runs(log, *told):
    """The lines of the task's log that are lines of these runs, in the order of the log."""
    known = {line for lines in told for line in lines}
    shown = [part for line in log.lines for part in line.partition(": ")[2].split("\n")]
    return [line for line in shown if line in known]


def kill_and_restart_backstage(stack):
    """SIGKILL it, start it again, and sign in."""
    stack.backstage.kill()
    stack.backstage.start()
    stack.backstage.wait_ready(within=READY_SECONDS)
    return parts.Portal.sign_in(stack.backstage_url)


def test_a_killed_backend_takes_its_task_up_again(stack, portal, name):
    """A task survives SIGKILL and a restart of Backstage: one workflow, each line told once."""
    task = portal.create(form(name, features=["monitoring"]))
    TaskLog(portal, task).until("✓ validate")
    log = TaskLog(kill_and_restart_backstage(stack), task)
    completion = log.to_the_end()
    run = run_of(stack, name)

    assert completion["message"].endswith("completed")
    assert workflows_for(stack, name) == [run["workflow"]["name"]]
    assert run["attempt"] == 1
    told = told_by_the_bridge(stack, run["id"])
    assert lines_of_runs(log, told) == told


def test_retry_of_a_cancelled_task_is_a_new_attempt(stack, portal, name):
    """Retry in Backstage starts anew, and a backend killed on the way does not start it twice."""
    task = portal.create(form(name))
    first = TaskLog(portal, task)
    first.until("✓ validate")
    portal.api("POST", f"/scaffolder/v2/tasks/{task}/cancel", {})
    first.to_the_end()
    cancelled = run_of(stack, name)
    portal.api("POST", f"/scaffolder/v2/tasks/{task}/retry", {"secrets": {}})
    TaskLog(portal, task).until("(attempt 2)")
    log = TaskLog(kill_and_restart_backstage(stack), task)
    completion = log.to_the_end()
    retried = run_of(stack, name)

    assert completion["message"].endswith("completed")
    assert (cancelled["status"], cancelled["attempt"]) == ("cancelled", 1)
    assert (retried["status"], retried["attempt"]) == ("succeeded", 2)
    assert sorted(workflows_for(stack, name)) == sorted(
        run["workflow"]["name"] for run in (cancelled, retried)
    )
    told = [told_by_the_bridge(stack, run["id"]) for run in (cancelled, retried)]
    assert lines_of_runs(log, *told) == [*told[0], *told[1]]


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
    assert lines_of_runs(log, told) == told


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
