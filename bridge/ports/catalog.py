"""The Backstage catalog, and where definitions come from.

Knows entities and definitions in domain terms. Must not know HTTP or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from bridge.domain.definitions import Catalogue
from bridge.domain.entities import EntityDocument, EntityRef


class Catalog(Protocol):
    """The Backstage catalog. Raises CatalogUnavailable (try again) from any method."""

    async def register(self, entity: EntityDocument) -> None:
        """Make the catalog read the document now, whether or not it knows its location.

        Raises:
            CatalogRejected: The catalog will not read it; the text says what to configure.
        """
        ...

    async def unregister(self, entity: EntityDocument) -> None:
        """Make the catalog forget the document's location; an unknown one is fine."""
        ...

    async def entity(self, ref: EntityRef) -> Mapping[str, Any] | None:
        """What the catalog shows, or None."""
        ...

    async def memberships(self, user: EntityRef) -> frozenset[str]:
        """References of the user and of every group it is a member of, directly or not."""
        ...

    def owns(self, document: Mapping[str, Any]) -> bool:
        """Whether a shown entity came from this bridge."""
        ...


class DefinitionSource(Protocol):
    """Where definitions come from."""

    def load(self, *, last_good: Catalogue) -> Catalogue:
        """Read everything again; what went bad keeps its last good version."""
        ...
