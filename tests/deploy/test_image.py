"""The image: its Dockerfile, the build of it without Docker, and how it is run."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import bridge
from bridge.settings import Settings
from tests.deploy.image import IMAGE, ROOT, build, recipe

DOCKERFILE = recipe.Recipe.read()
HADOLINT = Path(sys.executable).with_name("hadolint")
RUN_SECONDS = 60


def lint(path: Path) -> list[str]:
    """The codes that hadolint finds."""
    command = [str(HADOLINT), "--no-color", "--format", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_SECONDS)
    return [one["code"] for one in json.loads(done.stdout)]


# --- the Dockerfile ------------------------------------------------------------------------------


def test_hadolint_finds_nothing():
    """Whoever builds the image starts from a file without known mistakes."""
    assert lint(ROOT / "Dockerfile") == []


def test_hadolint_would_find_a_mistake(tmp_path: Path):
    """An image whose base is not pinned would not pass."""
    bad = tmp_path / "Dockerfile"
    text = (ROOT / "Dockerfile").read_text()
    bad.write_text(re.sub(r"python:\S+", "python:latest", text))
    assert lint(bad) == ["DL3007"]


def test_the_image_is_what_the_build_stage_made():
    """Nothing of the build stage gets into the image but the folder that its scripts filled."""
    assert DOCKERFILE.image.base == "scratch"
    assert [one.rest for one in DOCKERFILE.image.all("COPY")] == ["--from=build /image/ /"]
    assert DOCKERFILE.build.name == "build"
    assert not DOCKERFILE.image.all("RUN")


def test_every_step_is_a_script_that_the_build_without_docker_runs_too():
    """The two ways to build cannot differ: each step is one script, given the image's folder."""
    steps = [one.words() for one in DOCKERFILE.build.all("RUN")]
    assert steps == [
        (f"deploy/image/{name}.sh", "/image") for name in ("debian", "python", "bridge")
    ]
    for script, _ in steps:
        assert os.access(ROOT / script, os.X_OK)
        assert "set -eu" in (ROOT / script).read_text().splitlines()


def test_the_base_of_the_build_is_the_debian_and_the_python_of_the_image():
    """Wheels and bytecode are made for the very Python that runs them."""
    python, codename = re.fullmatch(
        r"python:(3\.\d+)\.\d+-slim-(\w+)", DOCKERFILE.build.base
    ).groups()
    packages = (IMAGE / "packages.txt").read_text().split()
    assert f"python{python}-minimal" in packages
    assert f"!= {codename} ]" in (IMAGE / "debian.sh").read_text()
    assert (IMAGE / "bridge").read_text().startswith(f"#!/usr/bin/python{python} -I\n")


def test_labels_say_what_it_is():
    """A registry shows title, licence and version, which are those of the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = DOCKERFILE.image.last("LABEL").pairs()
    name = "org.opencontainers.image"
    assert labels[f"{name}.title"] == project["name"]
    assert labels[f"{name}.licenses"] == project["license"]
    assert labels[f"{name}.description"] == bridge.__doc__.rstrip(".")
    assert labels[f"{name}.version"] == "${VERSION}"
    arguments = [one.rest for one in DOCKERFILE.image.all("ARG")]
    assert arguments == [f"VERSION={bridge.__version__}", "REVISION=unknown"]


def test_it_runs_as_nobody_special_and_stops_by_sigterm():
    """No root, and the signal that makes the bridge drain."""
    assert DOCKERFILE.user == (1001, 1001)
    assert DOCKERFILE.image.last("STOPSIGNAL").rest == "SIGTERM"
    assert (DOCKERFILE.entrypoint, DOCKERFILE.command) == (("/usr/local/bin/bridge",), ("serve",))


def test_its_settings_are_settings(monkeypatch: pytest.MonkeyPatch):
    """It listens on the port that it exposes, and keeps its store where it may write."""
    for name, value in DOCKERFILE.environment.items():
        if name.startswith("BRIDGE_"):
            monkeypatch.setenv(name, value)
    settings = Settings(tokens="ci=0123456789abcdef01234567")
    assert str(settings.port) == DOCKERFILE.image.last("EXPOSE").rest
    assert settings.host == "0.0.0.0"
    assert settings.database == Path("/var/lib/bridge/bridge.db")
    assert settings.actions == Path("/app/backstage-actions/actions")
    assert set(settings.model_fields_set) == {"port", "host", "database", "actions", "tokens"}


def test_its_command_takes_no_code_from_outside(tmp_path: Path):
    """Neither PYTHONPATH nor the working folder can replace a module of the bridge."""
    (tmp_path / "click.py").write_text("raise SystemExit('not ours')")
    command = [sys.executable, "-I", str(IMAGE / "bridge"), "--version"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout == f"bridge, version {bridge.__version__}\n"


# --- what is sent to the builder -----------------------------------------------------------------


def ignored(path: str) -> bool:
    """Whether `.dockerignore` keeps a path out; its last pattern that matches decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    kept_out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        name = pattern.removeprefix("**/")
        if pattern != name:
            found = any(fnmatch(part, name) for part in parts)
        else:
            found = any(
                p.count("/") == pattern.count("/") and fnmatch(p, pattern) for p in prefixes
            )
        if found:
            kept_out = not line.startswith("!")
    return kept_out


def test_the_builder_gets_what_is_copied_and_little_else():
    """A build needs no secret, database or installed package of the checkout, and sends none."""
    copied = [name for one in DOCKERFILE.build.all("COPY") for name in one.words()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert [name for name in copied if ignored(name)] == []
    for name in (
        ".git/config",
        ".venv/bin/python",
        "bridge.db",
        "tests/conftest.py",
        ".run/image/root.tar.gz",
        "backstage-actions/scaffolder-module/node_modules/x",
        "bridge/__pycache__/cli.cpython-311.pyc",
    ):
        assert ignored(name), name


def test_the_copied_files_are_all_that_the_scripts_read(tmp_path: Path):
    """The scripted build brings files to where Docker would, and no bytecode of the checkout."""
    for step in DOCKERFILE.build.all("COPY"):
        build.copy(step, tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        "LICENSE",
        "requirements/tracing.txt",
        "deploy/image/debian.sh",
        "deploy/image/packages.txt",
        "deploy/image/bridge",
        "bridge/cli.py",
        "bridge/adapters/migrations/sqlite/0001_runs.sql",
        "backstage-actions/actions/namespace-create/action.yaml",
    } <= found
    assert not [name for name in found if name.endswith(".pyc")]
    assert stat.S_IMODE((tmp_path / "deploy/image/bridge.sh").stat().st_mode) & 0o111


# --- the build without Docker --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("FROM a AS build\nADD x y\nFROM scratch\n", "ADD is not carried out"),
        ("FROM a\nRUN x\n", "1 stages"),
        ("FROM a\nFROM b\nFROM c\n", "3 stages"),
    ],
)
def test_a_step_that_only_docker_would_do_is_refused(tmp_path: Path, text: str, what: str):
    """The build without Docker never leaves out silently what Docker does."""
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    with pytest.raises(recipe.RecipeError, match=what):
        recipe.Recipe.read(path)


def test_a_failing_step_ends_the_build(tmp_path: Path):
    """A broken image is never taken for a finished one."""
    path = tmp_path / "Dockerfile"
    path.write_text("FROM a AS build\nRUN false /image\nFROM scratch\n")
    with pytest.raises(subprocess.CalledProcessError):
        build.build(recipe.Recipe.read(path), tmp_path / "root")


def test_steps_work_on_the_folder_of_the_image(tmp_path: Path):
    """An earlier build leaves nothing behind in the next one."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "old").touch()
    path = tmp_path / "Dockerfile"
    path.write_text("FROM a AS build\nWORKDIR /source\nRUN mkdir -p /image\nFROM scratch\n")
    build.build(recipe.Recipe.read(path), root)
    assert list(root.iterdir()) == []


def test_an_image_above_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Nobody ships an image above 150 MB without noticing."""
    monkeypatch.setattr(build, "build", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["image_build.py", str(tmp_path)])
    big = tmp_path / "big"
    for size, code in ((150_000_000, 0), (150_000_001, 1)):
        with big.open("wb") as file:
            file.truncate(size)
        assert build.main() == code
    assert "150.0 MB uncompressed, of 150 MB at most" in capsys.readouterr().out


def test_the_size_counts_a_file_once(tmp_path: Path):
    """Links to one file are one file, as in a layer."""
    (tmp_path / "a").write_bytes(b"x" * 1000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("/etc/passwd")
    assert build.size_of(tmp_path) == 1000 + len("/etc/passwd")


def test_the_same_files_make_the_same_archive(tmp_path: Path):
    """Two builds of the same sources can be compared by their digests."""
    root = tmp_path / "root"
    root.mkdir()
    for name in ("b", "a"):
        (root / name).write_text(name)
    build.pack(root, tmp_path / "one.tar.gz")
    os.utime(root / "a", (1, 1))
    build.pack(root, tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
