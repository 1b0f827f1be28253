"""A control plane with the accounts, rights and policies of the manifests, for all tests here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.custom_kinds import definitions
from tests.cluster.kubectl import Kubectl
from tests.deploy.manifests import Built, Document, build_all

FOLDER = Path(__file__).parent
_REPORT = pytest.StashKey[list[str]]()
_SECONDS = 30.0
# Put there in this order, whatever the folders say: names must exist before they are referred to.
_ESTABLISHED = (
    ("Namespace",),
    ("ServiceAccount", "ClusterRole", "Role"),
    ("ClusterRoleBinding", "RoleBinding", "LimitRange", "ResourceQuota", "PriorityClass"),
    ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need the control plane, which takes more than a moment."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what the tests have found out, also when they pass."""
    for line in config.stash.get(_REPORT, []):
        terminalreporter.write_line(line)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The control plane, its administrator, and what was applied to it."""

    plane: ControlPlane
    admin: Kubectl
    built: Mapping[str, Built]

    def account(self, namespace: str, name: str) -> Kubectl:
        """Kubectl as a ServiceAccount, with a real token of it."""
        token = self.admin.text("create", "token", name, "-n", namespace, "--duration=1h").strip()
        config = self.plane.kubeconfig(f"{namespace}.{name}", token, namespace=namespace)
        return Kubectl(config)

    def documents(self, *kinds: str) -> list[Document]:
        """The objects of these kinds, each once, whichever folders have them."""
        found = [each for built in self.built.values() for each in built.of_kind(*kinds)]
        return [each for number, each in enumerate(found) if each not in found[:number]]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster on which accounts, rights and policies of all folders are in force."""
    built = build_all(tmp_path_factory.mktemp("manifests"))
    with control_plane() as plane:
        admin = Kubectl(plane.admin)
        admin.apply(definitions())
        made = Cluster(plane, admin, built)
        for kinds in _ESTABLISHED:
            documents = made.documents(*kinds)
            if documents:
                admin.apply(documents)
        admin.text("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
        _await_policies(made)
        yield made


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> list[str]:
    """Lines for the end of the output."""
    lines: list[str] = request.config.stash.setdefault(_REPORT, [])
    return lines


def _await_policies(cluster: Cluster) -> None:
    """Wait until the API server has taken the policies up: it watches them as any client does."""
    provisioner = cluster.account("argo-workflows", "platform-provisioner")
    limit = time.monotonic() + _SECONDS
    while time.monotonic() < limit:
        _, _, said = provisioner.attempt(
            "create", "namespace", "unlabelled", "--dry-run=server", ok=(0, 1)
        )
        if "platform-provisioner" in said and "denied" in said:
            return
        time.sleep(0.2)
    raise AssertionError(f"the admission policy is not in force: {said}")
