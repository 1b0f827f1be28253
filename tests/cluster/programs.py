"""Where the programs of a Kubernetes control plane are.

Knows PATH and the folder that `make kube` fills. Starts nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

BUILT = Path(__file__).parent.parent.parent / ".run" / "kube" / "bin"
"""What `make kube` has built or got, for programs that are not on PATH."""


def program(name: str) -> str:
    """The path of a program: that on PATH, else the one that was built.

    Raises:
        FileNotFoundError: neither is there.
    """
    found = shutil.which(name) or shutil.which(name, path=str(BUILT))
    if found is None:
        raise FileNotFoundError(f"{name} is neither on PATH nor in {BUILT}: run `make kube`")
    return found
