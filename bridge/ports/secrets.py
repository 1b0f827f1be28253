"""Keys of issuers, and the seal on what must not be stored in clear.

Knows neither algorithms nor where keys come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Sealed:
    """Secrets as they may be stored, and a mark that is the same for the same secrets only."""

    text: str
    mark: str


class Vault(Protocol):
    """Seals what must not be stored in clear."""

    def seal(self, values: Mapping[str, str], *, run_id: str) -> Sealed:
        """Seal the secrets of a run, for that run only.

        Raises:
            SecretsUnreadable: There is no key.
        """
        ...

    def open(self, text: str, *, run_id: str) -> dict[str, str]:
        """What was sealed for the run.

        Raises:
            SecretsUnreadable: It was sealed with a key that is not there any more, or for another.
        """
        ...


class KeySource(Protocol):
    """Public keys of token issuers."""

    async def key(self, path: str, *, kid: str) -> Mapping[str, Any] | None:
        """The JWK with this id, or None; *path* is the set's path in Backstage, or the issuer."""
        ...
