"""Files that are generated from the code are what the code says now."""

import json
from pathlib import Path

import pytest
import yaml

from bridge.domain.actions import ActionDefinition
from bridge.web.openapi import document

ROOT = Path(__file__).parents[2]


def test_openapi_document_is_current():
    """The published OpenAPI document is the one that the service serves (`bridge openapi`)."""
    published = json.loads((ROOT / "docs/reference/openapi.json").read_text())

    assert document(server="/") == published


def test_definition_schema_is_current():
    """Editors complete action.yaml by the schema of this version (`bridge actions schema`)."""
    published = json.loads((ROOT / "backstage-actions/schemas/action.schema.json").read_text())

    assert ActionDefinition.model_json_schema(by_alias=True) == published


def test_catalog_info_names_files_that_exist():
    """The project's own catalog entry points at documents that are there."""
    entities = list(yaml.safe_load_all((ROOT / "catalog-info.yaml").read_text()))
    targets = [e["spec"]["definition"]["$text"] for e in entities if e["kind"] == "API"]

    assert {entity["kind"] for entity in entities} == {"Component", "API"}
    assert all((ROOT / target).is_file() for target in targets)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_every_page_is_in_the_navigation(page: Path):
    """No page of the documentation is out of a reader's reach."""
    navigation = (ROOT / "mkdocs.yml").read_text()

    assert str(page.relative_to(ROOT / "docs")) in navigation
