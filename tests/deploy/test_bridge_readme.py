"""What the bridge's README for clusters tells people to write works as it stands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

import bridge
from tests.deploy.manifests import DEPLOY, Built, copied

README = (DEPLOY / "bridge" / "README.md").read_text()


def test_an_overlay_of_ones_own_builds_as_written(tmp_path: Path):
    """Whoever copies the overlay and changes its values gets them, and the rest as shipped."""
    copy = copied(tmp_path)
    (overlay,) = re.findall(r"```yaml\n(apiVersion: kustomize.*?)```", README, flags=re.DOTALL)
    (copy / "mine").mkdir()
    (copy / "mine" / "kustomization.yaml").write_text(overlay)
    done = subprocess.run(
        ["kubectl", "kustomize", str(copy / "mine")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    made = Built("mine", tuple(yaml.safe_load_all(done.stdout)))
    (config,) = made.of_kind("ConfigMap")
    pod = made.named("Deployment", "argo-bridge")["spec"]["template"]["spec"]
    assert config["data"]["BRIDGE_CLUSTER"] == "aks-weu-1"
    assert config["data"]["BRIDGE_ARGO_NAMESPACE"] == "argo-workflows"
    assert config["data"]["BRIDGE_DATABASE_URL_FILE"] == "/etc/bridge/database/url"
    assert pod["containers"][0]["envFrom"] == [
        {"configMapRef": {"name": config["metadata"]["name"]}}
    ]
    assert {one["image"] for one in (*pod["containers"], *pod["initContainers"])} == {
        f"registry.example.com/argo-bridge:{bridge.__version__}"
    }
    assert list(made.of_kind("ExternalSecret"))


def test_each_secret_that_is_mounted_is_described(built: dict[str, Built]):
    """Nobody finds out from a pod that does not start which secret was wanted."""
    made = built["deploy/bridge/overlays/postgres"]
    mounted = {
        (volume["secret"]["secretName"], item["key"])
        for one in made.of_kind("Deployment", "Job")
        for volume in one["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
        for item in volume["secret"]["items"]
    }
    described = set(re.findall(r"^\| `([a-z-]+)`, `([a-z-]+)` \|", README, flags=re.MULTILINE))
    assert mounted - {("argo-bridge-tls", "ca.crt")} == described
    for name, key in mounted:
        assert f"create secret generic {name}" in README
        assert f"--from-file={key}" in README


def test_each_file_is_described():
    """The table of files names every file, or the folder that it is in."""
    folder = DEPLOY / "bridge"
    (cells,) = re.findall(r"\| file \| what \|\n(.*?)\n\n", README, flags=re.DOTALL)
    named = set(re.findall(r"`([a-z./-]+)`", cells)) | {"overlays/sqlite", "overlays/postgres"}
    plain = {"kustomization.yaml", "namespace.yaml", "serviceaccount.yaml"}
    files = {path for path in folder.rglob("*.*") if path.is_file() and path.suffix != ".md"}
    left = {
        str(path.relative_to(folder))
        for path in files
        if path.name not in plain | named
        and str(path.relative_to(folder)) not in named
        and str(path.parent.relative_to(folder)) not in named
    }
    assert left == set()
