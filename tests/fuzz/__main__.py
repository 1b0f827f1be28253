"""``make fuzz``: many thousand requests drawn from the published OpenAPI document.

Prints its seed, and for each operation how often which status was answered; ends with 1 when an
answer was wrong. ``--seed`` draws the same requests again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.rounds import Rounds
from tests.fuzz.stage import target
from tests.fuzz.throwing import Tally

_EXAMPLES = 20


def main() -> int:
    """Play rounds until there were enough requests."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=20_000, help="at least so many in all")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    options.add_argument("--minutes", type=float, default=15, help="give up after so long")
    given = options.parse_args()
    _say(f"seed {given.seed}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, target(Path(folder)) as found:
        rounds = Rounds(found, seed=given.seed)
        while rounds.requests < given.requests and not rounds.complaints():
            if time.monotonic() - begun > given.minutes * 60:
                _say(f"✗ only {rounds.requests} requests in {given.minutes} minutes")
                return 1
            rounds.play(examples=_EXAMPLES)
            _say(f"· round {rounds.played}: {rounds.requests} requests")
        complaints = rounds.complaints()
    for who, tally in rounds.tallies.items():
        _table(tally, who)
    _say(f"{rounds.requests} requests in {time.monotonic() - begun:.0f} s, seed {given.seed}")
    for complaint in complaints:
        _say(f"✗ {complaint}")
    return int(bool(complaints))


def _table(tally: Tally, title: str) -> None:
    _say(f"\n{title}: {tally.requests}")
    for operation, counted in tally.statuses.items():
        shown = ", ".join(f"{status}: {number}" for status, number in sorted(counted.items()))
        _say(f"  {operation:58} {shown}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
