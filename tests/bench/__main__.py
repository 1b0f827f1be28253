"""``make bench``: every figure beside its target (design, section 8).

Names of single benches may be given: latency, submissions, memory, fanout, restart, soak.
"""

from __future__ import annotations

import asyncio
import sys

from tests.bench import fanout, latency, memory, restart, soak, submissions

BENCHES = {
    "latency": latency.measure,
    "submissions": submissions.measure,
    "memory": memory.measure,
    "fanout": fanout.measure,
    "restart": restart.measure,
    "soak": soak.measure,
}


async def main() -> None:
    """Run the benches one after the other."""
    figures = []
    for name in sys.argv[1:] or BENCHES:
        print(f"· {name}")
        figures += await BENCHES[name]()
    print()
    for figure in figures:
        print(figure.line())


if __name__ == "__main__":
    asyncio.run(main())
