"""The scripts of ``deploy/image``, which stand beside the Dockerfile and are no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "deploy" / "image"


def script(name: str) -> ModuleType:
    """One of them, loaded under its own name, which others of them import it by."""
    found = sys.modules.get(name)
    if found is not None:
        return found
    spec = importlib.util.spec_from_file_location(name, IMAGE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


recipe = script("image_recipe")
build = script("image_build")
run = script("image_run")
healthcheck = script("healthcheck")
