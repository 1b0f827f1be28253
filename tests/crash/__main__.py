"""``make chaos``: kill replicas of the bridge until there is nothing left to doubt.

``SEED`` replays (what the machine adds in time it does not), ``KILLS`` says how many, ``STORE``
keeps to one store, ``MUTATION`` breaks the product first.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.chaos import STORES, Order, chaos, tell
from tests.crash.world import Outcome

_KILLS = 1000


def main() -> None:
    """Print what happened; exit 1 if a promise was broken or the chaos was too small."""
    order = Order(
        seed=os.environ.get("SEED") or secrets.token_hex(4),
        kills=int(os.environ.get("KILLS") or _KILLS),
        stores=tuple(s for s in STORES if os.environ.get("STORE", s) in {s, ""}),
        mutation=os.environ.get("MUTATION", ""),
    )
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    _say(f"SEED={order.seed}; what the worlds leave is in {folder}, until all is found well")
    began = time.monotonic()
    found = asyncio.run(chaos(order, folder=folder, done=_tell))
    points = ", ".join(f"{point} {times}" for point, times in found.points.most_common())
    _say(f"killed at: {points}")
    _say(
        f"kills = {found.kills}, pauses = {found.pauses}, polite restarts = {found.restarts}, "
        f"runs = {found.runs}, violations = {found.violations}, "
        f"{(time.monotonic() - began) / 60:.1f} min, SEED={order.seed}"
    )
    if found.violations:
        sys.exit(1)
    shutil.rmtree(folder)
    sys.exit(0 if found.kills >= order.kills else 1)


def _tell(outcome: Outcome) -> None:
    for line in tell(outcome):
        _say(line)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command speaks


if __name__ == "__main__":
    main()
