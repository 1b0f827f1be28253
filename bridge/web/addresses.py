"""Addresses that answers name.

Knows where a run is. Must not know the routes themselves: ``app`` has their table.
"""

from __future__ import annotations


def run_address(run_id: str) -> str:
    """Where a run is shown."""
    return f"/v1/runs/{run_id}"


def request_address(run_id: str) -> str:
    """Where the Platform API tells how a request stands."""
    return f"/api/platform/namespaces/request/{run_id}/status"
