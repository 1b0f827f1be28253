"""Argo's manifests agree with each other, with the workflows they run and with what is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, ROOT, Built, Document

ARGO = "deploy/argo"
INGRESS = "deploy/overlays/argo-ingress"
ANY_CLUSTER = "deploy/overlays/argo-any-cluster"
FLUX = "deploy/argo/flux"
INSTALLS = (ARGO, INGRESS, ANY_CLUSTER)
VERSION = "v4.1.2"
ACTIONS = ROOT / "backstage-actions" / "actions"
EXAMPLE = re.compile(
    r"0{8}-0000-0000-0000-0{11}[0-9a-b]|example-?platform\.[a-z.]+|[a-z-]+\.example\.com"
)
VERBS = {
    "create": {"create", "get"},
    "apply": {"get", "create", "patch"},
    "patch": {"get", "patch"},
    "get": {"get"},
    "delete": {"get", "list", "watch", "delete"},
}
"""What kubectl asks of the API server for each action of a resource template."""


def _config(built: Built) -> dict[str, Any]:
    """The controller's configuration, each key read as YAML."""
    data = built.named("ConfigMap", "workflow-controller-configmap")["data"]
    return {key: yaml.safe_load(text) for key, text in data.items()}


def _container(deployment: Document) -> dict[str, Any]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(container)


def _selected(selector: Mapping[str, str], deployment: Document) -> bool:
    return selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def _workflow() -> Document:
    path = ACTIONS / "namespace-create" / "workflow.yaml"
    found: Document = yaml.safe_load(path.read_text())
    return found


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
        assert _container(deployment)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_one_version_everywhere(built: dict[str, Built]):
    """Controller, server, executor, definitions and chart are of one version of Argo."""
    server, controller = (
        _container(built[ARGO].named("Deployment", name))
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


def test_the_chart_is_set_alike(built: dict[str, Built]):
    """Whoever takes the Helm chart gets the limits, defaults and stores of the manifests."""
    config = _config(built[ARGO])
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
    pod, container = deployment["spec"]["template"]["spec"], _container(deployment)
    assert chart["replicas"] == deployment["spec"]["replicas"]
    assert chart["resources"] == container["resources"]
    assert chart["serviceAccount"]["name"] == pod["serviceAccountName"]
    assert chart["podSecurityContext"] == pod["securityContext"]
    assert chart["tolerations"] == pod["tolerations"]
    assert chart["affinity"] == pod["affinity"]
    assert set(chart["extraArgs"]) < set(container["args"])
    assert [each for each in chart.get("extraEnv", ()) if each not in container["env"]] == []


def test_server_mode_is_off(built: dict[str, Built]):
    """No caller acts with the server's rights, and each mode is a flag of its own."""
    args = _container(built[ARGO].named("Deployment", "argo-server"))["args"]
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
        assert sum(_selected(selector, each) for each in deployments) == 1, selector
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
        assert not selector or any(_selected(selector, each) for each in deployments)


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
    assert _selected(peer["podSelector"]["matchLabels"], server)


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
    assert set(_references(_config(built[ARGO]))) | {("platform-api", "token")} == made


def test_another_cluster_needs_nothing_of_azure(built: dict[str, Built]):
    """Without Azure: no object for it, and secrets that the README says to make."""
    made = built[ANY_CLUSTER]
    assert list(made.of_kind("SecretStore", "ExternalSecret")) == []
    assert "key-vault-reader" not in {
        each["metadata"]["name"] for each in made.of_kind("ServiceAccount")
    }
    config = _config(made)
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
    redirect = urlsplit(_config(built[INGRESS])["sso"]["redirectUrl"])
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


def test_people_are_found_where_the_server_looks(built: dict[str, Built]):
    """Who logs in acts as an account of the managed namespace, whose token the server may read."""
    server = built[ARGO].named("Deployment", "argo-server")
    assert "--managed-namespace=argo-workflows" in _container(server)["args"]
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


def test_workflows_run_as_somebody_who_may_report(built: dict[str, Built]):
    """The account of a workflow that names none exists and is bound to report results."""
    account = _config(built[ARGO])["workflowDefaults"]["spec"]["serviceAccountName"]
    assert built[ARGO].named("ServiceAccount", account)["metadata"]["namespace"] == "argo-workflows"
    (binding,) = [
        each
        for each in built[ARGO].of_kind("RoleBinding")
        if each["roleRef"]["name"] == "argo-workflow-executor"
    ]
    assert {each["name"] for each in binding["subjects"]} == {account, "platform-provisioner"}
