"""``python -m tests.crash.mutants [NAME …]``: whether the harness finds what is broken on purpose.

Prints for each mutation which invariants caught it within how many kills; exit 1 if one was not
caught. Worlds are small here, because a world is judged when it is over.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.crash.chaos import Order, chaos, tell
from tests.crash.mutations import MUTATIONS
from tests.crash.world import Outcome

_KILLS = 400
_KILLS_PER_WORLD = 16
_SHARED: frozenset[str] = frozenset({"writes_under_an_old_fence", "numbers_events_from_memory"})
"""What only several replicas can suffer from."""


async def _hunt(name: str, folder: Path) -> tuple[int, Counter[str]]:
    """Kills until the end of the first world with violations, and their letters."""
    letters = Counter[str]()
    order = Order(
        seed=name,
        kills=_KILLS,
        stores=("postgres",) if name in _SHARED else ("sqlite",),
        mutation=name,
        quiet=15.0,
        per_world=_KILLS_PER_WORLD,
        until_violated=True,
    )

    def over(outcome: Outcome) -> None:
        letters.update(one.invariant for one in outcome.violations)
        (folder / "report.txt").write_text("\n".join(tell(outcome)))

    found = await chaos(order, folder=folder, done=over)
    return found.kills, letters


def main() -> None:
    """Hunt the mutations that are named, or all."""
    missed = 0
    for name in sys.argv[1:] or MUTATIONS:
        folder = Path(tempfile.mkdtemp(prefix="crash-"))
        kills, letters = asyncio.run(_hunt(name, folder))
        told = ", ".join(f"({letter}) x {times}" for letter, times in sorted(letters.items()))
        missed += not letters
        line = f"| {name} | {told or 'NOT CAUGHT'} | {kills} | {folder}"
        print(line, flush=True)  # noqa: T201 - a command speaks
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
