"""What the pages on installing, operating and mending tell people to type is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from bridge.cli import main
from bridge.domain.errors import error_classes
from bridge.settings import Settings
from tests.docs.reference import environment_names

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "how-to"
PAGES = sorted(FOLDER.glob("*.md"))
TEXTS = {page.name: page.read_text() for page in PAGES}
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)\s]*)\)")
INLINE = re.compile(r"`([^`\n]+)`")
SEED = (
    "Workflow controller issues",
    "Argo server issues",
    "Platform API integration",
    "Workflow submission fails",
    "Permission denied",
    "The bridge cannot connect to Argo",
    "Workflow templates are not found",
)


def commands(text: str) -> list[list[str]]:
    """Every command of the page, also those behind ``kubectl exec``, without what it pipes to."""
    lines = [
        line
        for language, block in BLOCK.findall(text)
        if language in {"bash", "sh"}
        for line in block.replace("\\\n", " ").splitlines()
    ]
    inline = [found for found in INLINE.findall(text) if found.startswith(("bridge ", "kubectl "))]
    found = []
    for line in lines + inline:
        words = shlex.split(re.split(r" [|<>]", line)[0], comments=True)
        words = words[words.index("--") + 1 :] if "--" in words else words
        if words and words[0] in {"bridge", "kubectl"}:
            found.append(words)
    return found


def resolved(words: list[str]) -> click.Command:
    """The command that is meant. Raises AssertionError if there is none."""
    found: click.Command = main
    rest = list(words)
    while isinstance(found, click.Group) and rest and rest[0] in found.commands:
        found = found.commands[rest.pop(0)]
    options = {option for parameter in found.params for option in parameter.opts}
    unknown = [word for word in rest if word.startswith("--") and word not in {"--help", *options}]
    leftover = isinstance(found, click.Group) and rest and not rest[0].startswith("-")
    passes_on = found.context_settings.get("ignore_unknown_options", False)
    assert passes_on or not unknown, (words, unknown)
    assert not leftover, (words, rest)
    return found


@pytest.mark.parametrize("page", TEXTS)
def test_the_commands_of_a_page_exist(page: str):
    """Nobody types a command or an option that the bridge does not have."""
    for words in commands(TEXTS[page]):
        if words[0] == "bridge":
            assert resolved(words[1:]) is not main or words[1:2] == ["--help"], words


@pytest.mark.parametrize("page", TEXTS)
def test_what_a_page_applies_is_in_the_checkout(page: str):
    """Each folder that is applied has a kustomization."""
    for words in commands(TEXTS[page]):
        if words[:2] != ["kubectl", "apply"] or "-k" not in words:
            continue
        target = words[words.index("-k") + 1]
        if not target.startswith("https://"):
            assert (ROOT / target / "kustomization.yaml").exists(), words


@pytest.mark.parametrize("page", TEXTS)
def test_the_links_of_a_page_lead_somewhere(page: str):
    """Neither a file nor a heading that a page refers to is missing."""
    for link in LINK.findall(TEXTS[page]):
        path, _, anchor = link.partition("#")
        target = (FOLDER / path).resolve() if path else FOLDER / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, link


@pytest.mark.parametrize("page", ["install-on-kubernetes.md", "operate.md", "troubleshoot.md"])
def test_the_settings_of_a_page_exist(page: str):
    """No variable is misspelt."""
    known = {name for field in Settings.model_fields for name in environment_names(field)}
    named = set(re.findall(r"\b(?:BRIDGE|PLATFORM)_[A-Z_]+\b", TEXTS[page]))
    assert named - known - _OF_THE_WORKFLOWS == set()
    assert named


_OF_THE_WORKFLOWS = {"PLATFORM_API_TOKEN"}


def test_codes_of_errors_are_those_that_runs_have():
    """Whoever looks for the code of a run finds its section."""
    codes = {cls.code for cls in error_classes()}
    named = {"entity_conflict", "template_missing", "workflow_rejected"}
    assert named <= codes
    assert all(f"`{code}`" in TEXTS["troubleshoot.md"] for code in named)


def test_every_matter_of_the_guide_has_its_section():
    """Who knows the platform's guide finds its troubleshooting here, with today's names."""
    headings = re.findall(r"^### (.+)$", TEXTS["troubleshoot.md"], re.MULTILINE)
    assert set(SEED) <= set(headings)


def test_the_pod_that_restores_is_one_that_kubernetes_takes():
    """The manifest of the page is valid, and mounts the volume that the overlay makes."""
    blocks = [text for language, text in BLOCK.findall(TEXTS["operate.md"]) if language == "yaml"]
    (pod,) = map(yaml.safe_load, blocks)
    kubernetes_validate.validate(pod, "1.35", strict=True)
    overlay = ROOT / "deploy" / "bridge" / "overlays" / "sqlite"
    claim = yaml.safe_load((overlay / "persistentvolumeclaim.yaml").read_text())
    base = ROOT / "deploy" / "bridge" / "base" / "deployment.yaml"
    bridge: dict[str, Any] = yaml.safe_load(base.read_text())["spec"]["template"]["spec"]
    (container,) = pod["spec"]["containers"]
    (volume,) = pod["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert container["image"].startswith(f"{bridge['containers'][0]['image']}:")
    assert container["securityContext"] == bridge["containers"][0]["securityContext"]
    assert resolved(container["args"]).name == "restore"


def _anchor(heading: str) -> str:
    """As GitHub and MkDocs make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
