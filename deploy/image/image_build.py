"""``make image``: the Dockerfile's steps without a Docker daemon, and the size of the result.

Copies into an empty folder what the Dockerfile copies and runs there what it runs; the root file
system that comes out is a folder, and a tar archive beside it. Needs root on Debian 12, which the
base image of the build stage is too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import image_recipe as dockerfile

PLACE = "/image"
MOST_BYTES = 150_000_000
STEP_SECONDS = 600.0


def main() -> int:
    """Build, measure, and refuse an image that is too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder that becomes the root file system")
    parser.add_argument("--archive", type=Path, help="also write a compressed tar archive")
    options = parser.parse_args()
    root: Path = options.root.resolve()
    build(dockerfile.Recipe.read(), root)
    size = size_of(root)
    print(f"{root}: {size / 1e6:.1f} MB uncompressed, of {MOST_BYTES / 1e6:.0f} MB at most")
    if options.archive is not None:
        pack(root, options.archive)
        print(f"{options.archive}: {options.archive.stat().st_size / 1e6:.1f} MB compressed")
    return 0 if size <= MOST_BYTES else 1


def build(recipe: dockerfile.Recipe, root: Path) -> None:
    """Make *root* anew, as the build stage makes its folder for the image."""
    if root.exists():
        shutil.rmtree(root)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        for step in recipe.build.instructions:
            print(f"· {step.name} {step.rest}", flush=True)
            if step.name == "COPY":
                copy(step, source)
            elif step.name == "RUN":
                run(step, source=source, root=root)
            elif step.name != "WORKDIR":  # the folder is the directory to work in
                raise dockerfile.RecipeError(f"{step.name} in the build stage is not carried out")


def copy(step: dockerfile.Instruction, source: Path) -> None:
    """Bring what the instruction names, from the checkout to where the step wants it."""
    *names, target = step.words()
    for name in names:
        found = dockerfile.ROOT / name
        if found.is_dir():
            skipped = shutil.ignore_patterns("__pycache__", "*.py[co]")  # as .dockerignore does
            shutil.copytree(found, source / target, ignore=skipped, dirs_exist_ok=True)
            continue
        place = source / target
        if target.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            place /= found.name
        shutil.copy2(found, place)


def run(step: dockerfile.Instruction, *, source: Path, root: Path) -> None:
    """Carry out a command, which names the folder of the image by its place in Docker."""
    words = [str(root) if word == PLACE else word for word in step.words()]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHON": sys.executable,
        **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
    }
    subprocess.run(words, cwd=source, env=environment, check=True, timeout=STEP_SECONDS)


def size_of(root: Path) -> int:
    """Bytes of all files, links counted once, as an uncompressed layer holds them."""
    sizes = {}
    for path in _files(root):
        status = path.lstat()
        sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names)


def pack(root: Path, archive: Path) -> None:
    """One layer, compressed: the same bytes from the same files."""
    command = ["tar", "--create", "--sort=name", "--mtime=@0", "--numeric-owner"]
    command += ["--use-compress-program=gzip -n", "--file", str(archive), "--directory", str(root)]
    subprocess.run([*command, "."], check=True, timeout=STEP_SECONDS)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (dockerfile.RecipeError, subprocess.SubprocessError, OSError) as problem:
        sys.exit(f"✗ {problem}")
