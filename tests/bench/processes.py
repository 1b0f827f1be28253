"""The programs under measure, each a process of its own on loopback.

Knows how to start them, wait for them and read their memory. Must not know what is measured.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.raw import Connection

START_SECONDS = 20.0
ACTIONS = Path(__file__).parent / "actions"


@dataclass(frozen=True, slots=True)
class Running:
    """A started program."""

    url: str
    pid: int

    def resident_bytes(self) -> int:
        """Memory in use now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def running(
    *arguments: str, port: int, ready: str, **environment: str
) -> AsyncIterator[Running]:
    """``python -m`` *arguments* until the block ends; waits until the path *ready* answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=None if os.environ.get("BENCH_VERBOSE") else asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await _answers(url, ready):
                if process.returncode is not None:
                    raise RuntimeError(f"{arguments[0]} ended with {process.returncode}")
                await asyncio.sleep(0.05)
        yield Running(url, process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(url: str, path: str) -> bool:
    try:
        async with Connection(url) as connection:
            await connection.call("GET", path)
    except (OSError, RuntimeError, asyncio.IncompleteReadError):
        return False
    return True


@asynccontextmanager
async def argo(record: Path | None = None) -> AsyncIterator[Running]:
    """The embedded Argo with the bench's templates; *record* gets the times of its frames."""
    port = free_port()
    arguments = [
        "tests.bench.argo_server",
        str(port),
        str(ACTIONS),
        *([str(record)] if record else []),
    ]
    async with running(*arguments, port=port, ready="/api/v1/info") as found:
        yield found


@asynccontextmanager
async def bridge(argo_url: str, *, folder: Path) -> AsyncIterator[Running]:
    """``bridge serve`` on a fresh SQLite file."""
    port = free_port()
    environment = {
        "BRIDGE_DEMO": "true",
        "BRIDGE_PORT": str(port),
        "BRIDGE_ACTIONS": str(ACTIONS),
        "BRIDGE_DATABASE": str(folder / "bench.db"),
        "BRIDGE_ARGO_URL": argo_url,
        "BRIDGE_LOG_LEVEL": "warning",
        # One client asks as much as all callers would.
        "BRIDGE_REQUESTS_PER_SECOND": "100000",
        "BRIDGE_POSTS_PER_SECOND": "100000",
        "BRIDGE_STREAMS_PER_CALLER": "15000",
        "BRIDGE_MAX_STREAMS": "15000",
    }
    async with running("bridge", "serve", port=port, ready="/readyz", **environment) as found:
        yield found
