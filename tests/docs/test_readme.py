"""What the README tells a newcomer to type works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.domain.definitions import parse_definition

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for language, text in BLOCKS
    if language == "bash"
    for line in text.splitlines()
    if line.strip()
]
BRIDGE = [command for command in COMMANDS if command[0].endswith("/bridge")]
TARGETS = sorted({command[1] for command in COMMANDS if command[0] == "make"})
LINKS = sorted(set(re.findall(r"\]\(([^)#:]+)\)", README)))


@pytest.mark.parametrize("command", BRIDGE, ids=" ".join)
def test_the_commands_of_the_readme_run(command):
    """Each bridge command of the README ends well in a checkout."""
    arguments = [*command[1:], *(["--pace", "0"] if "demo" in command else [])]
    done = subprocess.run(
        [sys.executable, "-m", "bridge", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_the_targets_of_the_readme_exist(target):
    """Each make target of the README is one that `make help` knows, or that make can plan."""
    planned = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=False, timeout=60
    )

    assert planned.returncode == 0, planned.stderr.decode()


def test_the_action_of_the_readme_is_valid():
    """The definition that the README shows is accepted as it stands."""
    (text,) = (text for language, text in BLOCKS if language == "yaml")

    assert parse_definition(text, file="README.md").id == "namespace:create"


@pytest.mark.parametrize("link", LINKS)
def test_the_links_of_the_readme_lead_somewhere(link):
    """No relative link or picture of the README is broken."""
    assert (ROOT / link).exists()
