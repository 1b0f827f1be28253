"""Accounts of Argo's manifests may do what their work needs, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.argo import ACTIONS, ARGO, INSTALLS, config_of, container_of
from tests.deploy.manifests import Built, Document

VERBS = {
    "create": {"create", "get"},
    "apply": {"get", "create", "patch"},
    "patch": {"get", "patch"},
    "get": {"get"},
    "delete": {"get", "list", "watch", "delete"},
}
"""What kubectl asks of the API server for each action of a resource template."""


@pytest.mark.parametrize("install", INSTALLS)
def test_rights_name_what_they_give(built: dict[str, Built], install: str):
    """No role has a wildcard or lists secrets, and one account only works in the whole cluster."""
    for role in built[install].of_kind("Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]], role
            if "secrets" in rule["resources"]:
                assert {"list", "watch", "delete"}.isdisjoint(rule["verbs"]), role
    (cluster,) = built[install].of_kind("ClusterRoleBinding")
    assert cluster["subjects"] == [
        {"kind": "ServiceAccount", "name": "platform-provisioner", "namespace": "argo-workflows"}
    ]


def _workflow() -> Document:
    path = ACTIONS / "namespace-create" / "workflow.yaml"
    found: Document = yaml.safe_load(path.read_text())
    return found


def _needed() -> dict[str, set[str]]:
    """Verbs by resource that the steps of the namespace workflow need."""
    templates = {each["name"]: each for each in _workflow()["spec"]["templates"]}
    needed: dict[str, set[str]] = {}
    for name, template in templates.items():
        step = template.get("resource")
        for kind in _kinds(name, step, templates) if step else ():
            needed.setdefault(_plural(kind.lower()), set()).update(VERBS[step["action"]])
    return needed


def _plural(kind: str) -> str:
    """The resource of a kind, as the API server names it."""
    if kind.endswith("y"):
        return f"{kind[:-1]}ies"
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _kinds(name: str, step: dict[str, Any], templates: dict[str, Document]) -> Iterator[str]:
    """The kinds a step works on: written down, a flag, or a parameter of those who call it."""
    if "manifest" not in step:
        yield step["flags"][0].removesuffix(".velero.io").removesuffix("s")
        return
    kind = re.search(r"^kind: (.+)$", step["manifest"], re.MULTILINE)
    assert kind is not None
    if not kind[1].startswith("{{"):
        yield kind[1]
        return
    for call in (
        each for caller in templates.values() for row in caller.get("steps", ()) for each in row
    ):
        if call["template"] == name:
            given = {each["name"]: each["value"] for each in call["arguments"]["parameters"]}
            yield given["kind"]


def _given(role: Document) -> dict[str, set[str]]:
    """Verbs by resource that a role gives."""
    given: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            given.setdefault(resource, set()).update(rule["verbs"])
    return given


def test_the_provisioner_may_do_what_its_workflow_does_and_no_more(built: dict[str, Built]):
    """Each verb is used by a step and no step lacks one; roles need to be given on, too."""
    given = _given(built[ARGO].named("ClusterRole", "platform-provisioner"))
    needed = _needed()
    needed["roles"] |= {"escalate", "bind"}
    assert given == needed


def test_all_that_the_provisioner_may_write_is_bounded(built: dict[str, Built]):
    """The admission policy looks at every kind that the role lets the account change."""
    role = built[ARGO].named("ClusterRole", "platform-provisioner")
    policy = built[ARGO].named("ValidatingAdmissionPolicy", "platform-provisioner")["spec"]
    (rule,) = policy["matchConstraints"]["resourceRules"]
    assert set(rule["resources"]) == {name for each in role["rules"] for name in each["resources"]}
    assert set(rule["apiGroups"]) == {name for each in role["rules"] for name in each["apiGroups"]}
    assert rule["operations"] == ["CREATE", "UPDATE", "DELETE"]
    assert policy["failurePolicy"] == "Fail"


def test_people_are_found_where_the_server_looks(built: dict[str, Built]):
    """Who logs in acts as an account of the managed namespace, whose token the server may read."""
    server = built[ARGO].named("Deployment", "argo-server")
    assert "--managed-namespace=argo-workflows" in container_of(server)["args"]
    people = [
        each["metadata"]
        for each in built[ARGO].of_kind("ServiceAccount")
        if "workflows.argoproj.io/rbac-rule" in each["metadata"].get("annotations", {})
    ]
    assert {each["name"] for each in people} == {"argo-ui-admin", "argo-ui-reader"}
    assert {each["namespace"] for each in people} == {"argo-workflows"}
    tokens = {f"{each['name']}.service-account-token" for each in people}
    for name in tokens:
        assert built[ARGO].named("Secret", name)["metadata"]["namespace"] == "argo-workflows"
    (rule,) = [
        each
        for each in built[ARGO].named("ClusterRole", "argo-server")["rules"]
        if each["resources"] == ["secrets"]
    ]
    assert set(rule["resourceNames"]) == tokens
    for name in ("argo-ui-admin", "argo-ui-reader"):
        (subject,) = built[ARGO].named("RoleBinding", name)["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": name, "namespace": "argo-workflows"}


def test_one_name_in_postgresql(built: dict[str, Built]):
    """Controller and server log in by one role, so they show the token of one identity."""
    identities = {
        built[ARGO].named("ServiceAccount", name)["metadata"]["annotations"][
            "azure.workload.identity/client-id"
        ]
        for name in ("workflow-controller", "argo-server")
    }
    assert len(identities) == 1


def test_workflows_run_as_somebody_who_may_report(built: dict[str, Built]):
    """The account of a workflow that names none exists and is bound to report results."""
    account = config_of(built[ARGO])["workflowDefaults"]["spec"]["serviceAccountName"]
    assert built[ARGO].named("ServiceAccount", account)["metadata"]["namespace"] == "argo-workflows"
    (binding,) = [
        each
        for each in built[ARGO].of_kind("RoleBinding")
        if each["roleRef"]["name"] == "argo-workflow-executor"
    ]
    assert {each["name"] for each in binding["subjects"]} == {account, "platform-provisioner"}
