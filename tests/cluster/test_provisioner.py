"""What the admission policy keeps `platform-provisioner` from, on a real API server.

RBAC lets it make roles and namespaces; these are the ways by which a bent workflow could misuse
that.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.conftest import Cluster
from tests.cluster.kubectl import Document, Kubectl, KubectlError

MANAGED = {"platform.io/managed": "true"}
ENFORCE = "pod-security.kubernetes.io/enforce"
SECURE = {ENFORCE: "baseline"}
HOME = "bounded-team"
DENIED = r"ValidatingAdmissionPolicy 'platform-provisioner' .* denied request"
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def provisioner(cluster: Cluster) -> Kubectl:
    """The account, and a namespace that it has made."""
    account = cluster.account("argo-workflows", "platform-provisioner")
    account.create(_object("v1", "Namespace", HOME, None, labels=MANAGED | SECURE))
    cluster.admin.text("create", "namespace", "elsewhere")
    cluster.admin.create(_role("other"))
    return account


def _object(
    version: str, kind: str, name: str, namespace: str | None = HOME, **fields: Any
) -> Document:
    """An object that is managed, unless `labels` say otherwise."""
    metadata = {"name": name, "labels": fields.pop("labels", MANAGED)}
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def _role(name: str = "team-developer", **rule: list[str]) -> Document:
    given = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], **rule}
    return _object(f"{RBAC}/v1", "Role", name, rules=[given])


def _binding(kind: str, name: str, subject: dict[str, str]) -> Document:
    reference = {"apiGroup": RBAC, "kind": kind, "name": name}
    return _object(f"{RBAC}/v1", "RoleBinding", "b", roleRef=reference, subjects=[subject])


def _group(name: str) -> dict[str, str]:
    return {"kind": "Group", "apiGroup": RBAC, "name": name}


ELSEWHERE = {"kind": "ServiceAccount", "name": "default", "namespace": "elsewhere"}
REFUSED = {
    "a namespace that is not labelled": _object(
        "v1", "Namespace", "loose", None, labels=dict(SECURE)
    ),
    "a namespace for privileged pods": _object(
        "v1",
        "Namespace",
        "loose",
        None,
        labels={**MANAGED, ENFORCE: "privileged"},
    ),
    "a namespace without pod security": _object("v1", "Namespace", "loose", None),
    "an account among others": _object("v1", "ServiceAccount", "spy", "elsewhere"),
    "a quota for kube-system": _object("v1", "ResourceQuota", "none", "kube-system", spec={}),
    "a role of another name": _role("other"),
    "a role that may do everything": _role(verbs=["*"]),
    "a role for every resource": _role(resources=["*"]),
    "a role that may make roles": _role(apiGroups=[RBAC], resources=["roles"], verbs=["create"]),
    "a role that may run commands in pods": _role(resources=["pods/exec"], verbs=["create"]),
    "a role that may take tokens": _role(resources=["serviceaccounts/token"], verbs=["create"]),
    "a binding for everybody": _binding("Role", "team-developer", _group("system:authenticated")),
    "a binding for an account of elsewhere": _binding("Role", "team-developer", ELSEWHERE),
}
NOT_HELD = {
    "a binding to cluster-admin": _binding("ClusterRole", "cluster-admin", _group("team:a")),
    "a binding to another role": _binding("Role", "other", _group("team:a")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_workflow_never_makes_is_refused(provisioner: Kubectl, what: str):
    """A bent workflow gets no more than namespaces for teams, bounded as they are."""
    with pytest.raises(KubectlError, match=DENIED):
        provisioner.create(REFUSED[what], "--dry-run=server")


@pytest.mark.parametrize("what", NOT_HELD)
def test_only_one_role_is_bound(provisioner: Kubectl, what: str):
    """A bent workflow hands nobody rights that it has not been given."""
    with pytest.raises(KubectlError, match="attempting to grant RBAC permissions"):
        provisioner.create(NOT_HELD[what], "--dry-run=server")


@pytest.mark.parametrize(
    "accepted",
    [
        _role(),
        _binding("Role", "team-developer", _group("team:team-a")),
        _object("v1", "ServiceAccount", "deployer"),
    ],
    ids=lambda each: each["kind"],
)
def test_what_the_workflow_makes_is_accepted(provisioner: Kubectl, accepted: Document):
    """The refusals above are those of the policy: the same kinds are made where they belong."""
    provisioner.create(accepted, "--dry-run=server")


@pytest.mark.parametrize(
    "command",
    [
        ("delete", "namespace", "elsewhere"),
        ("delete", "namespace", "argo"),
        ("label", "namespace", "kube-system", "platform.io/managed=true"),
        ("label", "namespace", "elsewhere", "platform.io/managed=true"),
        ("label", "namespace", HOME, "platform.io/managed-"),
        ("label", "namespace", HOME, "pod-security.kubernetes.io/enforce-"),
    ],
    ids=" ".join,
)
def test_only_its_own_namespaces_are_changed_or_removed(
    provisioner: Kubectl, command: tuple[str, ...]
):
    """A bent workflow neither takes over nor removes a namespace that it has not made."""
    with pytest.raises(KubectlError, match=DENIED):
        provisioner.text(*command, "--dry-run=server")


def test_the_policy_asks_nothing_of_others(cluster: Cluster, provisioner: Kubectl):
    """The platform team works as before: the policy is about one account."""
    cluster.admin.create(REFUSED["a role that may do everything"], "--dry-run=server")
