"""Runs the image's command in its root file system, as a restricted pod would, without Docker.

The user, the environment and the command are the Dockerfile's. The root file system is mounted
read-only, ``/tmp`` and the data folder are all that can be written, no capability is left and none
can be gained. Namespaces of mounts, processes and System V IPC are its own; the network is the
host's. Needs root on Linux.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import image_recipe as dockerfile

DATA = "/var/lib/bridge"
DEVICES = ("null", "zero", "random", "urandom")
NAMESPACES = ("unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child")
PREFIX = "BRIDGE_"
MOUNT_SECONDS = 10.0
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Enter the namespaces, or, once in them, the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder that is {DATA}")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("root", type=Path, help="root file system, from image_build.py")
    parser.add_argument("command", nargs="*", help="in place of the image's own CMD")
    options = parser.parse_args()
    recipe = dockerfile.Recipe.read()
    if not options.inside:
        options.data.mkdir(parents=True, exist_ok=True)
        os.chown(options.data, *recipe.user)
        again = (sys.executable, sys.argv[0], "--inside", *sys.argv[1:])
        os.execvp(NAMESPACES[0], (*NAMESPACES, *again))
    root = options.root.resolve()
    lay(root, data=options.data.resolve())
    os.chroot(root)
    os.chdir(recipe.directory)
    give_up_rights(*recipe.user)
    words = (*recipe.entrypoint, *(options.command or recipe.command))
    os.execve(words[0], words, environment(recipe, os.environ.items()))


def environment(recipe: dockerfile.Recipe, given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The image's variables, and the caller's settings of the bridge over them."""
    settings = {name: value for name, value in given if name.startswith(PREFIX)}
    return {"PATH": "/usr/local/bin:/usr/bin", **recipe.environment, **settings}


def lay(root: Path, *, data: Path) -> None:
    """Mount *root* over itself: read-only, but for ``/tmp`` and the data."""
    mount("--bind", root, root)
    mount("-t", "tmpfs", "-o", "nosuid,nodev,mode=1777", "tmpfs", root / "tmp")
    mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", root / "proc")
    mount("-t", "tmpfs", "-o", "nosuid,mode=755", "tmpfs", root / "dev")
    for name in DEVICES:
        (root / "dev" / name).touch()
        mount("--bind", f"/dev/{name}", root / "dev" / name)
    mount("--bind", data, root / DATA.lstrip("/"))
    mount("-o", "remount,bind,nosuid,nodev", root / DATA.lstrip("/"))
    mount("-o", "remount,bind,ro,nosuid,nodev", root)


def mount(*words: str | Path) -> None:
    """One mount, in this namespace only."""
    subprocess.run(["mount", *map(str, words)], check=True, timeout=MOUNT_SECONDS)


def give_up_rights(user: int, group: int) -> None:
    """Become *user* with no capability, and no way to get one.

    Raises:
        OSError: The kernel does not let go of something.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for option, argument in (
        *((_PR_CAPBSET_DROP, capability) for capability in range(last + 1)),
        (_PR_SET_NO_NEW_PRIVS, 1),
    ):
        if libc.prctl(option, argument, 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl({option}, {argument})")
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


if __name__ == "__main__":
    try:
        main()
    except (dockerfile.RecipeError, subprocess.SubprocessError, OSError) as problem:
        sys.exit(f"✗ {problem}")
