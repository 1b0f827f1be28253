"""The kustomizations, each built once."""

from __future__ import annotations

import pytest

from tests.deploy.manifests import Built, build_all


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """What kustomize makes of every folder, by the name of the folder."""
    return build_all(tmp_path_factory.mktemp("manifests"))
