"""What the services need of the world, as protocols.

Each module knows the shape of one need in domain terms. Must not know any adapter: one contract
suite per port runs over all of them (tests/contract).
"""

from bridge.ports.catalog import Catalog, DefinitionSource
from bridge.ports.clock import Chance, Clock
from bridge.ports.engine import Listing, WatchEvent, WorkflowEngine
from bridge.ports.secrets import KeySource, Sealed, Vault
from bridge.ports.store import (
    Appended,
    AuditFilter,
    Commanded,
    Entry,
    RunFilter,
    RunStore,
    Subscriber,
)
from bridge.ports.tracing import Tracer

__all__ = [
    "Appended",
    "AuditFilter",
    "Catalog",
    "Chance",
    "Clock",
    "Commanded",
    "DefinitionSource",
    "Entry",
    "KeySource",
    "Listing",
    "RunFilter",
    "RunStore",
    "Sealed",
    "Subscriber",
    "Tracer",
    "Vault",
    "WatchEvent",
    "WorkflowEngine",
]
