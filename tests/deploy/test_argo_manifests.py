"""Argo's manifests agree with each other, with the bridge's and with what is written of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.deploy.argo import (
    ACTIONS,
    ARGO,
    FLUX,
    INGRESS,
    INSTALLS,
    VERSION,
    config_of,
    container_of,
    selects,
)
from tests.deploy.manifests import DEPLOY, Built

ANY_CLUSTER = "deploy/overlays/argo-any-cluster"
EXAMPLE = re.compile(
    r"0{8}-0000-0000-0000-0{11}[0-9a-b]|example-?platform\.[a-z.]+|[a-z-]+\.example\.com"
)


@pytest.mark.parametrize("install", INSTALLS)
def test_programs_run_restricted(built: dict[str, Built], install: str):
    """Neither program is root, may become it, writes to its image or keeps a capability."""
    deployments = list(built[install].of_kind("Deployment"))
    assert {each["metadata"]["name"] for each in deployments} == {
        "argo-server",
        "workflow-controller",
    }
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 1001,
            "runAsGroup": 1001,
            "fsGroup": 1001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container_of(deployment)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_one_version_everywhere(built: dict[str, Built]):
    """Controller, server, executor, definitions and chart are of one version of Argo."""
    server, controller = (
        container_of(built[ARGO].named("Deployment", name))
        for name in ("argo-server", "workflow-controller")
    )
    definitions = built[FLUX].named("GitRepository", "argo-workflows")
    values = yaml.safe_load((DEPLOY / "argo" / "values.yaml").read_text())
    assert server["image"] == f"quay.io/argoproj/argocli:{VERSION}"
    assert controller["image"] == f"quay.io/argoproj/workflow-controller:{VERSION}"
    assert f"--executor-image=quay.io/argoproj/argoexec:{VERSION}" in controller["args"]
    assert definitions["spec"]["ref"] == {"tag": VERSION}
    assert values["images"]["tag"] == VERSION
    for name in ("README.md", "values.yaml"):
        assert set(re.findall(r"ref=(v[\d.]+)", (DEPLOY / "argo" / name).read_text())) == {VERSION}


def test_server_mode_is_off(built: dict[str, Built]):
    """No caller acts with the server's rights, and each mode is a flag of its own."""
    args = container_of(built[ARGO].named("Deployment", "argo-server"))["args"]
    assert [each for each in args if each.startswith("--auth-mode")] == [
        "--auth-mode=sso",
        "--auth-mode=client",
    ]


def test_every_action_is_installed_as_written(built: dict[str, Built]):
    """A new action is not forgotten, and kustomize changes nothing but the namespace."""
    sources = [yaml.safe_load(each.read_text()) for each in sorted(ACTIONS.glob("*/workflow.yaml"))]
    for source in sources:
        source["metadata"]["namespace"] = "argo-workflows"
    assert list(built[ARGO].of_kind("WorkflowTemplate")) == sources


def test_each_name_to_replace_is_listed(built: dict[str, Built]):
    """A platform team finds every example's name in the table of the README."""
    readme = (DEPLOY / "argo" / "README.md").read_text()
    listed = set(re.findall(r"^\| `([^`]+)` \|", readme, re.MULTILINE))
    used = set(
        EXAMPLE.findall(yaml.safe_dump_all([*built[ARGO].documents, *built[INGRESS].documents]))
    )
    ours = {each for each in used if each != "apps.example.com"}  # a parameter of the workflow
    assert ours
    assert ours <= listed


@pytest.mark.parametrize("install", INSTALLS)
def test_selectors_select(built: dict[str, Built], install: str):
    """Services, budgets, monitors and policies each reach the pods that they are named for."""
    deployments = list(built[install].of_kind("Deployment"))
    selectors = [each["spec"]["selector"] for each in built[install].of_kind("Service")]
    selectors += [
        each["spec"]["selector"]["matchLabels"]
        for each in built[install].of_kind("PodDisruptionBudget")
    ]
    for selector in selectors:
        assert sum(selects(selector, each) for each in deployments) == 1, selector
    for monitor in built[install].of_kind("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        services = [
            each
            for each in built[install].of_kind("Service")
            if wanted <= each["metadata"]["labels"].items()
        ]
        (service,) = services
        ports = {each["name"] for each in service["spec"]["ports"]}
        assert {each["port"] for each in monitor["spec"]["endpoints"]} <= ports
    for policy in built[install].of_kind("NetworkPolicy"):
        selector = policy["spec"]["podSelector"].get("matchLabels", {})
        assert not selector or any(selects(selector, each) for each in deployments)


def test_alerts_know_the_scraped_jobs(built: dict[str, Built]):
    """The names that Prometheus gives the targets are those that the rules ask for."""
    rules = (DEPLOY / "monitoring" / "rules" / "argo-workflows.yaml").read_text()
    jobs = {each for each in re.findall(r'job="([^"]+)"', rules) if "bridge" not in each}
    assert jobs == {each["metadata"]["name"] for each in built[ARGO].of_kind("Service")}


@pytest.mark.parametrize("namespace", ["argo", "argo-workflows"])
def test_everything_is_closed_first(built: dict[str, Built], namespace: str):
    """A pod that no policy names reaches nothing, and nothing reaches it."""
    closed = {
        each["metadata"]["name"]: each["spec"]
        for each in built[ARGO].of_kind("NetworkPolicy")
        if each["metadata"]["namespace"] == namespace
    }
    assert closed["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, spec in closed.items():
        for peer in (each for rule in spec.get("ingress", ()) for each in rule["from"]):
            assert peer["namespaceSelector"]["matchLabels"], name


def test_the_bridge_gets_through(built: dict[str, Built]):
    """What the bridge's policy lets out, the server's lets in."""
    server = built[ARGO].named("Deployment", "argo-server")
    policy = built["deploy/bridge/overlays/sqlite"].named("NetworkPolicy", "argo-bridge")
    (rule,) = [each for each in policy["spec"]["egress"] if each["ports"][0]["port"] == 2746]
    (peer,) = rule["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "argo"}
    assert selects(peer["podSelector"]["matchLabels"], server)


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """Names and keys of secrets anywhere in a configuration."""
    if isinstance(value, dict):
        if value.keys() == {"name", "key"}:
            yield value["name"], value["key"]
        for each in value.values():
            yield from _references(each)


def test_each_secret_comes_from_the_key_vault(built: dict[str, Built]):
    """What the configuration refers to is there, under that key."""
    made = {
        (each["spec"]["target"]["name"], item["secretKey"])
        for each in built[ARGO].of_kind("ExternalSecret")
        for item in each["spec"]["data"]
    }
    assert set(_references(config_of(built[ARGO]))) | {("platform-api", "token")} == made


def test_another_cluster_needs_nothing_of_azure(built: dict[str, Built]):
    """Without Azure: no object for it, and secrets that the README says to make."""
    made = built[ANY_CLUSTER]
    assert list(made.of_kind("SecretStore", "ExternalSecret")) == []
    assert "key-vault-reader" not in {
        each["metadata"]["name"] for each in made.of_kind("ServiceAccount")
    }
    config = config_of(made)
    assert "azure" not in yaml.safe_dump([config["persistence"], config["artifactRepository"]])
    readme = (DEPLOY / "argo" / "README.md").read_text()
    for name, key in _references(config):
        assert f"`{name}`" in readme
        assert f"`{key}`" in readme


def test_the_ingress_leads_to_the_server(built: dict[str, Built]):
    """SSO sends people back to the address that the ingress serves by TLS."""
    (ingress,) = built[INGRESS].of_kind("Ingress")
    (rule,) = ingress["spec"]["rules"]
    service = built[INGRESS].named(
        "Service", rule["http"]["paths"][0]["backend"]["service"]["name"]
    )
    redirect = urlsplit(config_of(built[INGRESS])["sso"]["redirectUrl"])
    assert rule["host"] == redirect.hostname
    assert redirect.path == "/oauth2/callback"
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    assert service["spec"]["ports"][0]["name"] == "web"
    assert ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"]
    assert list(built[INGRESS].of_kind("NetworkPolicy")) != list(
        built[ARGO].of_kind("NetworkPolicy")
    )


def test_links_of_the_bridge_lead_to_the_ingress(built: dict[str, Built]):
    """Who follows a link from an entity to its workflow comes to the page that is served."""
    (ingress,) = built[INGRESS].of_kind("Ingress")
    settings = (DEPLOY / "bridge" / "base" / "bridge.env").read_text()
    host = ingress["spec"]["rules"][0]["host"]
    assert f"\nBRIDGE_ARGO_UI_URL=https://{host}\n" in settings


def test_flux_waits_for_what_there_is(built: dict[str, Built]):
    """Every health check names an object of the folder that Flux applies, after the definitions."""
    argo = built[FLUX].named("Kustomization", "argo-workflows")["spec"]
    applied = built[argo["path"].removeprefix("./")]
    for check in argo["healthChecks"]:
        assert (
            applied.named(check["kind"], check["name"])["metadata"]["namespace"]
            == (check["namespace"])
        )
    definitions = built[FLUX].named("Kustomization", "argo-crds")["spec"]
    assert argo["dependsOn"] == [{"name": "argo-crds"}]
    assert definitions["prune"] is False
    assert yaml.safe_load((DEPLOY / "bridge" / "flux" / "bridge.yaml").read_text())["spec"][
        "dependsOn"
    ] == [{"name": "argo-workflows"}]
