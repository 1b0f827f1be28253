"""The bridge on a cluster: its pods, its network, its settings and its rollout."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

import bridge
from bridge.cli import main as commands
from bridge.settings import Settings
from bridge.web.openapi import document
from tests.deploy.manifests import DEPLOY, Built, Document

OVERLAYS = ("deploy/bridge/overlays/sqlite", "deploy/bridge/overlays/postgres")
SQLITE, POSTGRES = OVERLAYS
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)

STOP_SLACK_SECONDS = 10


def pod_of(made: Built, kind: str = "Deployment", name: str = "argo-bridge") -> dict[str, Any]:
    """The pod of one object."""
    return dict(made.named(kind, name)["spec"]["template"]["spec"])


def pods_of(made: Built) -> Iterator[dict[str, Any]]:
    """The pods of all objects."""
    for one in made.of_kind("Deployment", "Job"):
        yield one["spec"]["template"]["spec"]


def containers_of(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All containers, those that come first too."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def configured(made: Built) -> dict[str, str]:
    """The settings of the container that serves."""
    (container,) = pod_of(made)["containers"]
    (source,) = container["envFrom"]
    return dict(made.named("ConfigMap", source["configMapRef"]["name"])["data"])


# --- pods ----------------------------------------------------------------------------------------


@each_overlay
def test_pods_run_restricted_with_a_read_only_root(built: dict[str, Built], overlay: str):
    """Pod Security `restricted` admits every pod, and none can write beside its own folders."""
    made = built[overlay]
    labels = made.named("Namespace", "argo-bridge")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods_of(made):
        assert pod["serviceAccountName"] == "argo-bridge"
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert {security[key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {1001}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers_of(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
            assert PurePosixPath(mounts["tmp"]).parts == ("/", "tmp")
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])


@each_overlay
def test_secrets_are_files_by_reference(built: dict[str, Built], overlay: str):
    """No secret is in a manifest or in an environment, where `kubectl describe` shows it."""
    made = built[overlay]
    assert not list(made.of_kind("Secret"))
    for container in (one for pod in pods_of(made) for one in containers_of(pod)):
        assert not [one for one in container.get("env", ()) if "valueFrom" in one]
        assert not [one for one in container.get("envFrom", ()) if "secretRef" in one]
    secret = {f"BRIDGE_{name.upper()}" for name in Settings.model_fields if is_secret(name)}
    assert not secret & set(configured(made))


def is_secret(name: str) -> bool:
    """Whether a setting holds a secret itself."""
    return "SecretStr" in str(Settings.model_fields[name].annotation)


@each_overlay
def test_each_file_of_the_settings_is_mounted(built: dict[str, Built], overlay: str):
    """The bridge finds every file that its settings name, and can read it as uid 1001."""
    made = built[overlay]
    named = {value for name, value in configured(made).items() if name.endswith("_FILE")}
    mounted = dict(files_of(pod_of(made)))
    assert named <= set(mounted)
    assert all(mode == 0o440 for mode in mounted.values())


def files_of(pod: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Each file that is mounted by name into the container that serves, and its mode."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in pod["containers"][0]["volumeMounts"]:
        volume = volumes[mount["name"]]
        source = volume.get("secret") or volume.get("projected")
        if source is None:
            continue
        assert mount["readOnly"] is True
        items = source.get("items") or [one["serviceAccountToken"] for one in source["sources"]]
        for item in items:
            yield f"{mount['mountPath']}/{item['path']}", source["defaultMode"]


@each_overlay
def test_the_token_for_argo_is_short_lived(built: dict[str, Built], overlay: str):
    """A token that leaks is worthless within the hour, and the bridge reads the next one."""
    made = built[overlay]
    projected = [volume["projected"] for volume in pod_of(made)["volumes"] if "projected" in volume]
    assert [one["sources"] for one in projected] == [
        [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]
    ]
    assert configured(made)["BRIDGE_ARGO_TOKEN_FILE"].endswith("/token")


# --- settings and image --------------------------------------------------------------------------


@each_overlay
def test_the_bridge_starts_with_the_settings_of_the_manifests(
    built: dict[str, Built], overlay: str, monkeypatch: pytest.MonkeyPatch
):
    """No setting is misspelt or refused, and callers, Argo and the catalog are all set up."""
    given = configured(built[overlay])
    known = {f"BRIDGE_{name.upper()}" for name in Settings.model_fields}
    assert set(given) <= known
    for name, value in {**given, "BRIDGE_HOST": "0.0.0.0"}.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.demo is False
    assert (
        settings.argo_namespace
        == built[overlay].named("Role", "argo-bridge")["metadata"]["namespace"]
    )
    assert settings.user_issuer == "https://backstage.example.com/api/auth"
    assert settings.platform_callback == f"{given['BRIDGE_PUBLIC_URL']}/api/v1/namespaces"
    assert settings.argo_verify_tls is True


@each_overlay
def test_a_changed_setting_rolls_the_pods(built: dict[str, Built], overlay: str):
    """The ConfigMap's name has a hash of its content, so that a change is a new rollout."""
    (config,) = built[overlay].of_kind("ConfigMap")
    assert re.fullmatch(r"argo-bridge-[a-z0-9]{10}", config["metadata"]["name"])
    assert config["metadata"]["namespace"] == "argo-bridge"


@each_overlay
def test_every_container_is_of_one_pinned_version(built: dict[str, Built], overlay: str):
    """Migrations, checks and the server are the same release, the one of this checkout."""
    images = {one["image"] for pod in pods_of(built[overlay]) for one in containers_of(pod)}
    assert images == {f"ghcr.io/example/argo-bridge:{bridge.__version__}"}


@each_overlay
def test_containers_run_commands_that_there_are(built: dict[str, Built], overlay: str):
    """Every container's arguments are a command of the bridge and its options."""
    for container in (one for pod in pods_of(built[overlay]) for one in containers_of(pod)):
        name, *options = container["args"]
        assert set(options) <= {
            text for option in commands.commands[name].params for text in option.opts
        }


@each_overlay
def test_probes_ask_routes_that_there_are(built: dict[str, Built], overlay: str):
    """A pod is restarted for not living, and only left out of the service for not being ready."""
    (container,) = pod_of(built[overlay])["containers"]
    probes = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {probe["path"] for probe in probes.values()} <= set(document(server="/")["paths"])
    assert {probe["port"] for probe in probes.values()} == {"http"}


@each_overlay
def test_a_pod_has_time_to_drain(built: dict[str, Built], overlay: str):
    """A rollout cuts no request: readiness is seen to fail and calls to Argo end in time."""
    made = built[overlay]
    (container,) = pod_of(made)["containers"]
    drain = float(configured(made)["BRIDGE_DRAIN_SECONDS"])
    readiness = container["readinessProbe"]
    noticed = readiness["periodSeconds"] * readiness["failureThreshold"]
    argo = Settings.model_fields["argo_timeout"].default / 1_000
    assert drain > noticed
    assert pod_of(made)["terminationGracePeriodSeconds"] >= drain + argo + STOP_SLACK_SECONDS


# --- network -------------------------------------------------------------------------------------


def peers(rules: list[dict[str, Any]], side: str) -> set[tuple[str, Any]]:
    """Who is named, by namespace or address, and on which port."""
    return {
        (
            peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            if "namespaceSelector" in peer
            else peer["ipBlock"]["cidr"],
            port["port"],
        )
        for rule in rules
        for peer in rule[side]
        for port in rule["ports"]
    }


@each_overlay
def test_the_network_is_closed_but_for_what_is_named(built: dict[str, Built], overlay: str):
    """Backstage, the ingress, Prometheus and callbacks come in; what the bridge asks goes out."""
    policies = {
        one["metadata"]["name"]: one["spec"] for one in built[overlay].of_kind("NetworkPolicy")
    }
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert peers(policies["argo-bridge"]["ingress"], "from") == {
        (name, "http") for name in ("backstage", "ingress-nginx", "monitoring", "argo-workflows")
    }
    assert peers(policies["argo-bridge"]["egress"], "to") == {
        ("argo", 2746),
        ("backstage", 7007),
        ("0.0.0.0/0", 443),
    }
    assert peers(policies["dns"]["egress"], "to") == {("kube-system", 53)}
    left = set(policies) - {"default-deny", "argo-bridge", "dns"}
    assert left == ({"postgres"} if overlay == POSTGRES else set())
    if left:
        assert {port for _, port in peers(policies["postgres"]["egress"], "to")} == {5432}


@each_overlay
def test_no_address_of_the_inside_is_open_for_issuers(built: dict[str, Built], overlay: str):
    """A forged issuer cannot make the bridge ask the cloud's metadata, or a private address."""
    spec = built[overlay].named("NetworkPolicy", "argo-bridge")["spec"]
    (block,) = [
        peer["ipBlock"] for rule in spec["egress"] for peer in rule["to"] if "ipBlock" in peer
    ]
    assert {"169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} <= set(
        block["except"]
    )


def test_both_ends_of_a_connection_allow_it(built: dict[str, Built]):
    """The policies of Argo let the bridge ask its server, and let workflows call the bridge."""
    argo, made = built["deploy/argo"], built[POSTGRES]
    (server,) = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in argo.of_kind("Deployment")
        if one["metadata"]["name"] == "argo-server"
    ]
    egress = made.named("NetworkPolicy", "argo-bridge")["spec"]["egress"]
    (asked,) = [peer for rule in egress for peer in rule["to"] if "podSelector" in peer]
    assert asked["podSelector"]["matchLabels"].items() <= server.items()
    admitted = [
        (one["metadata"]["namespace"], side, peer)
        for one in argo.of_kind("NetworkPolicy")
        for side, end in (("ingress", "from"), ("egress", "to"))
        for peer in peers([rule for rule in one["spec"].get(side, ()) if end in rule], end)
    ]
    assert ("argo", "ingress", ("argo-bridge", 2746)) in admitted
    assert ("argo-workflows", "egress", ("argo-bridge", 8080)) in admitted


@each_overlay
def test_prometheus_finds_the_metrics(built: dict[str, Built], overlay: str):
    """The ServiceMonitor selects the Service, which selects the pods, by port and route."""
    made = built[overlay]
    monitor = made.named("ServiceMonitor", "argo-bridge")["spec"]
    service = made.named("Service", "argo-bridge")
    deployment = made.named("Deployment", "argo-bridge")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (endpoint,) = monitor["endpoints"]
    (port,) = service["spec"]["ports"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    assert endpoint["path"] in document(server="/")["paths"]
    assert {"name": "http", "containerPort": 8080} in pod_of(made)["containers"][0]["ports"]
    assert port["targetPort"] == "http"


# --- the two stores ------------------------------------------------------------------------------


def test_sqlite_has_one_writer(built: dict[str, Built]):
    """Never do two pods open the same file, not even during a rollout."""
    made = built[SQLITE]
    spec = made.named("Deployment", "argo-bridge")["spec"]
    claim = made.named("PersistentVolumeClaim", "argo-bridge")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert claim["accessModes"] == ["ReadWriteOncePod"]
    assert not list(made.of_kind("HorizontalPodAutoscaler", "PodDisruptionBudget", "Job"))
    (mount,) = [m for m in pod_of(made)["containers"][0]["volumeMounts"] if m["name"] == "data"]
    assert mount["mountPath"] == "/var/lib/bridge"


def test_postgres_has_three_replicas_or_more(built: dict[str, Built]):
    """A node or a zone may go, and a drain takes one replica at a time."""
    made = built[POSTGRES]
    deployment = made.named("Deployment", "argo-bridge")["spec"]
    scaler = made.named("HorizontalPodAutoscaler", "argo-bridge")["spec"]
    budget = made.named("PodDisruptionBudget", "argo-bridge")["spec"]
    assert "replicas" not in deployment  # each apply would undo what the autoscaler chose
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 6)
    assert scaler["scaleTargetRef"]["name"] == "argo-bridge"
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    spread = pod_of(made)["topologySpreadConstraints"]
    assert {one["topologyKey"]: one["whenUnsatisfiable"] for one in spread} == {
        "topology.kubernetes.io/zone": "ScheduleAnyway",
        "kubernetes.io/hostname": "DoNotSchedule",
    }
    assert all(one["labelSelector"] == deployment["selector"] for one in spread)


def test_a_rollout_waits_for_its_migrations(built: dict[str, Built]):
    """New pods start only when the Job of their version has brought the store up to date."""
    made = built[POSTGRES]
    (first,) = pod_of(made)["initContainers"]
    (job,) = pod_of(made, "Job", "argo-bridge-migrate")["containers"]
    assert first["args"] == ["migrate", "--check"]
    assert job["args"] == ["migrate"]
    store = [{"name": "BRIDGE_DATABASE_URL_FILE", "value": "/etc/bridge/database/url"}]
    assert first["env"] == job["env"] == store
    assert configured(made)["BRIDGE_DATABASE_URL_FILE"] == store[0]["value"]
    for pod in pods_of(made):
        assert [v["secret"]["secretName"] for v in pod["volumes"] if v["name"] == "database"] == [
            "argo-bridge-database"
        ]


def test_migrations_reach_the_database_and_get_no_traffic(built: dict[str, Built]):
    """The Job's pods may speak to PostgreSQL, and the Service sends them nobody."""
    made = built[POSTGRES]
    labels = made.named("Job", "argo-bridge-migrate")["spec"]["template"]["metadata"]["labels"]
    allowed = made.named("NetworkPolicy", "postgres")["spec"]["podSelector"]["matchLabels"]
    assert allowed.items() <= labels.items()
    assert not made.named("Service", "argo-bridge")["spec"]["selector"].items() <= labels.items()


# --- by Flux and Key Vault -----------------------------------------------------------------------


def loaded(path: Path) -> list[Document]:
    """The objects of a file."""
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def test_flux_applies_an_overlay_after_argo():
    """Flux finds the folders that it is told of, and Argo's Kustomization by its name."""
    (flux,) = loaded(DEPLOY / "bridge/flux/bridge.yaml")
    argo = loaded(DEPLOY / "argo/flux/argo.yaml")
    overlay = DEPLOY.parent / flux["spec"]["path"]
    assert (overlay / "kustomization.yaml").is_file()
    assert all(
        (overlay / one / "kustomization.yaml").is_file() for one in flux["spec"]["components"]
    )
    assert {one["name"] for one in flux["spec"]["dependsOn"]} <= {
        one["metadata"]["name"] for one in argo
    }


def test_key_vault_has_all_that_the_pods_mount(built: dict[str, Built]):
    """With the component for Key Vault, no secret and no key of one is left to be made by hand."""
    made = {
        (one["spec"]["target"]["name"], entry["secretKey"])
        for one in loaded(DEPLOY / "bridge/components/key-vault/external-secrets.yaml")
        if one["kind"] == "ExternalSecret"
        for entry in one["spec"]["data"]
    }
    certificates = {one["spec"]["secretName"] for one in built[POSTGRES].of_kind("Certificate")}
    mounted = {
        (volume["secret"]["secretName"], item["key"])
        for pod in pods_of(built[POSTGRES])
        for volume in pod["volumes"]
        if "secret" in volume and volume["secret"]["secretName"] not in certificates
        for item in volume["secret"]["items"]
    }
    assert made == mounted
