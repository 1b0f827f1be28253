"""What the bridge may do on a cluster: exactly what the calls that it makes to Argo take."""

from __future__ import annotations

import inspect

import pytest

from bridge.ports import WorkflowEngine
from tests.deploy.manifests import Built
from tests.deploy.rights import DEEDS, RIGHTS, Right, calls_made

OVERLAYS = ("deploy/bridge/overlays/sqlite", "deploy/bridge/overlays/postgres")
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def granted(made: Built) -> frozenset[Right]:
    """The rights of the bridge's role."""
    return frozenset(
        (group, resource, verb)
        for rule in made.named("Role", "argo-bridge")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


async def test_each_call_to_argo_is_one_whose_rights_are_known():
    """Whoever gives the bridge a new call to Argo is told to say which rights it takes."""
    assert await calls_made() == frozenset(RIGHTS)


def test_each_method_of_the_engine_is_tried():
    """No call hides in a method that the list of calls forgot."""
    speaking = {
        name
        for name, member in inspect.getmembers(WorkflowEngine, inspect.isfunction)
        if not name.startswith("_") and name != "url"
    }
    assert set(DEEDS) == speaking


@each_overlay
def test_the_role_grants_what_the_calls_take_and_nothing_else(
    built: dict[str, Built], overlay: str
):
    """The bridge can do all that it does, and whoever steals its token can do no more."""
    assert granted(built[overlay]) == frozenset().union(*RIGHTS.values())


@each_overlay
def test_rights_are_in_the_namespace_of_the_workflows_only(built: dict[str, Built], overlay: str):
    """The bridge's account has no right anywhere else, its own namespace included."""
    made = built[overlay]
    (role,), (binding,) = made.of_kind("Role"), made.of_kind("RoleBinding")
    assert not list(made.of_kind("ClusterRole", "ClusterRoleBinding"))
    assert role["metadata"]["namespace"] == "argo-workflows"
    assert binding["metadata"]["namespace"] == role["metadata"]["namespace"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "argo-bridge", "namespace": "argo-bridge"}
    ]
