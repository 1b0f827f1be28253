"""Everything under `deploy/` builds, and is what Kubernetes' schemas ask for."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest

from tests.deploy.manifests import Built, Document, kustomizations
from tests.deploy.schemas import fault, group_of, is_custom, title

FOLDERS = kustomizations()
PINNED = re.compile(r"[?&]ref=v?\d+\.\d+\.\d+|/v?\d+\.\d+\.\d+/")


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
    assert made.documents or made.elsewhere
    assert [each for each in faults if each] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_what_comes_from_elsewhere_is_pinned(built: dict[str, Built], name: str):
    """An install of today is that of tomorrow: nothing is taken from a moving branch."""
    assert [each for each in built[name].elsewhere if not PINNED.search(each)] == []


def test_no_object_is_there_twice(built: dict[str, Built]):
    """No folder says two things about one object, of which the later would win silently."""
    for made in built.values():
        names = [f"{group_of(each)} {title(each)}" for each in made.documents]
        assert sorted(names) == sorted(set(names)), made.name


def test_objects_without_a_schema_are_known_custom_resources(built: dict[str, Built]):
    """A kind that no schema covers is one that an operator defines, not a misspelt one."""
    custom = {each["kind"] for made in built.values() for each in made.documents if is_custom(each)}
    assert "WorkflowTemplate" in custom
    assert "Deployment" not in custom


def test_the_check_sees_a_fault(built: dict[str, Built]):
    """A misspelt field in a Deployment would be found."""
    deployment = copy.deepcopy(next(built["deploy/argo"].of_kind("Deployment")))
    assert fault(deployment) is None
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolicyy"] = "Always"
    assert "imagePullPolicyy" in str(fault(deployment))
