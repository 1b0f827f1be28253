"""Everything under `deploy/` builds, and is what Kubernetes' schemas ask for."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.deploy.manifests import Built, Document, kustomizations
from tests.deploy.schemas import CUSTOM, fault, is_custom, title

FOLDERS = kustomizations()


def test_what_the_readme_installs_can_be_built():
    """Whoever installs Argo, or the bridge on either store, finds a kustomization for it."""
    assert {
        "deploy/argo",
        "deploy/bridge/overlays/sqlite",
        "deploy/bridge/overlays/postgres",
    } <= set(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_each_kustomization_builds_into_valid_objects(
    built: dict[str, Built], judge: Callable[[Document], str | None], name: str
):
    """`kubectl apply -k` of any folder meets no unknown field, wrong type or misspelt kind."""
    made = built[name]
    faults = [judge(each) for each in made.documents if not is_custom(each)]
    assert made.documents
    assert [each for each in faults if each] == []


def test_no_object_is_there_twice(built: dict[str, Built]):
    """No folder says two things about one object, of which the later would win silently."""
    for made in built.values():
        names = [f"{each['apiVersion']} {title(each)}" for each in made.documents]
        assert sorted(names) == sorted(set(names)), made.name


def test_no_custom_kind_is_excused_for_nothing(built: dict[str, Built]):
    """The list of kinds that no schema covers is as short as it can be."""
    made = {(each["apiVersion"], each["kind"]) for one in built.values() for each in one.documents}
    assert made >= CUSTOM


def test_the_check_sees_faults(built: dict[str, Built]):
    """A misspelt field and a misspelt kind are found."""
    deployment = copy.deepcopy(next(built["deploy/argo"].of_kind("Deployment")))
    assert fault(deployment) is None
    assert "no apps/v1 Deploymnet" in str(fault({**deployment, "kind": "Deploymnet"}))
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolicyy"] = "Always"
    assert "imagePullPolicyy" in str(fault(deployment))
