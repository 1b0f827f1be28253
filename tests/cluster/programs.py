"""Where kubectl and the programs of a Kubernetes control plane are.

Knows PATH, the virtual environment, which has kubectl, and the folder that `make kube` fills.
Starts nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_ENVIRONMENT = Path(sys.executable).parent
_BUILT = Path(__file__).parents[2] / ".run" / "kube" / "bin"


def search_path() -> str:
    """A PATH on which every program is found: the pinned kubectl, the system's, what was built."""
    return os.pathsep.join([str(_ENVIRONMENT), os.environ.get("PATH", ""), str(_BUILT)])


def program(name: str) -> str:
    """The path of a program.

    Raises:
        FileNotFoundError: it is nowhere.
    """
    found = shutil.which(name, path=search_path())
    if found is None:
        raise FileNotFoundError(f"{name} is neither on PATH nor in {_BUILT}: run `make kube`")
    return found
