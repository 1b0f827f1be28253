"""What kustomize makes of the folders under `deploy/`.

Builds in a copy, in which each component is added to each overlay that it is for, under a name such
as `deploy/bridge/overlays/sqlite+key-vault`. No manifest comes from a network: none could be built
here. Knows kubectl and the shape of a kustomization, nothing of what the manifests are for.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.programs import program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
Document = dict[str, Any]

_FILE = "kustomization.yaml"
_REFERENCED = ("deploy", "backstage-actions/actions")


@dataclass(frozen=True, slots=True)
class Built:
    """One kustomization, built.

    Attributes:
        name: its folder, from that of the project.
        documents: the objects.
    """

    name: str
    documents: tuple[Document, ...]

    def of_kind(self, *kinds: str) -> Iterator[Document]:
        """The objects of these kinds."""
        return (each for each in self.documents if each["kind"] in kinds)

    def named(self, kind: str, name: str) -> Document:
        """The one object of this name."""
        (found,) = [each for each in self.of_kind(kind) if each["metadata"]["name"] == name]
        return found


def kustomizations() -> list[str]:
    """The names of all that can be built, from folders of the project."""
    return sorted([*_folders("Kustomization"), *_with_components()])


def _folders(kind: str) -> list[str]:
    paths = [
        path for path in DEPLOY.rglob(_FILE) if _read(path).get("kind", "Kustomization") == kind
    ]
    return [str(path.parent.relative_to(ROOT)) for path in paths]


def _with_components() -> dict[str, Document]:
    """What an overlay and a component of the same area are together, by name."""
    return {
        f"{overlay}+{Path(component).name}": {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"../{Path(overlay).name}"],
            "components": [f"../../components/{Path(component).name}"],
        }
        for component in _folders("Component")
        for overlay in _folders("Kustomization")
        if Path(overlay).parent == Path(component).parent.parent / "overlays"
    }


def copied(folder: Path) -> Path:
    """Copy what kustomizations refer to, and add the combinations; returns the copy."""
    for name in _REFERENCED:
        shutil.copytree(ROOT / name, folder / name)
    for name, content in _with_components().items():
        (folder / name).mkdir()
        (folder / name / _FILE).write_text(yaml.safe_dump(content))
    return folder


def build(copy: Path, name: str) -> Built:
    """Build one kustomization.

    Raises:
        AssertionError: kustomize refuses it; with what it says.
    """
    done = subprocess.run(
        [program("kubectl"), "kustomize", str(copy / name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"{name}: {done.stderr}"
    documents = tuple(each for each in yaml.safe_load_all(done.stdout) if each)
    return Built(name, documents)


def build_all(folder: Path) -> dict[str, Built]:
    """Build every kustomization in an empty folder; by the name of its own folder."""
    copy = copied(folder)
    return {name: build(copy, name) for name in kustomizations()}


def _read(path: Path) -> Document:
    found: Document = yaml.safe_load(path.read_text())
    return found
