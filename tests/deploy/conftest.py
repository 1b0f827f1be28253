"""The kustomizations, each built once."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import pytest

from tests.deploy.manifests import Built, Document, build_all
from tests.deploy.schemas import fault


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """What kustomize makes of every folder, by the name of the folder."""
    return build_all(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="session")
def judge() -> Callable[[Document], str | None]:
    """What the schema of Kubernetes has against an object; each object is looked at once."""

    @cache
    def judged(text: str) -> str | None:
        return fault(json.loads(text))

    return lambda document: judged(json.dumps(document, sort_keys=True))
