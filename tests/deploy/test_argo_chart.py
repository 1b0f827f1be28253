"""Whoever takes Argo's Helm chart gets the settings of the manifests."""

from __future__ import annotations

import pytest
import yaml

from tests.deploy.argo import ARGO, config_of, container_of
from tests.deploy.manifests import DEPLOY, Built


def test_the_chart_is_set_alike(built: dict[str, Built]):
    """Whoever takes the Helm chart gets the limits, defaults and stores of the manifests."""
    config = config_of(built[ARGO])
    values = yaml.safe_load((DEPLOY / "argo" / "values.yaml").read_text())
    controller, server = values["controller"], values["server"]
    assert server["sso"] == config["sso"] | {"enabled": True}
    assert controller["metricsConfig"] == config["metricsConfig"]
    for key in ("parallelism", "workflowRestrictions", "workflowDefaults", "persistence"):
        assert controller[key] == config[key], key
    for key in ("mainContainer", "executor", "artifactRepository"):
        assert values[key] == config[key], key


@pytest.mark.parametrize("name", ["workflow-controller", "argo-server"])
def test_the_chart_makes_the_same_programs(built: dict[str, Built], name: str):
    """Its replicas, resources, accounts and flags are those of the manifests."""
    values = yaml.safe_load((DEPLOY / "argo" / "values.yaml").read_text())
    chart = values["server" if name == "argo-server" else "controller"]
    deployment = built[ARGO].named("Deployment", name)
    pod, container = deployment["spec"]["template"]["spec"], container_of(deployment)
    assert chart["replicas"] == deployment["spec"]["replicas"]
    assert chart["resources"] == container["resources"]
    assert chart["serviceAccount"]["name"] == pod["serviceAccountName"]
    assert chart["podSecurityContext"] == pod["securityContext"]
    assert chart["tolerations"] == pod["tolerations"]
    assert chart["affinity"] == pod["affinity"]
    assert set(chart["extraArgs"]) < set(container["args"])
    assert [each for each in chart.get("extraEnv", ()) if each not in container["env"]] == []
