"""Scripts run beside whatever else the process does."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import uvicorn

from bridge.localargo.pods import Pod, PodResult
from bridge.localargo.processes import ProcessRunner

ROUNDS = 40
AT_ONCE = 8


def pod(source: str, *, lines: list[str]) -> Pod:
    """A pod with a shell script."""
    template: dict[str, Any] = {"name": "x", "script": {"command": ["sh"], "source": source}}
    return Pod("x", "ns", template, lines.append, asyncio.Event())


async def many_scripts() -> list[PodResult]:
    """Run scripts side by side, several times over."""
    runner = ProcessRunner({}, grace_seconds=1)
    results = []
    for _ in range(ROUNDS):
        pods = [pod("echo one; echo two", lines=[]) for _ in range(AT_ONCE)]
        results += await asyncio.gather(*map(runner.run, pods))
    return results


def test_a_script_takes_no_file_from_others():
    """A script's end closes its own pipe and no file that a thread has opened meanwhile."""
    over = threading.Event()
    lost = []

    def open_and_close() -> None:
        while not over.is_set():
            number = os.open(os.devnull, os.O_RDONLY)
            try:
                os.fstat(number)
                os.close(number)
            except OSError as error:
                lost.append(error)

    others = [threading.Thread(target=open_and_close) for _ in range(6)]
    for other in others:
        other.start()
    try:
        factory = uvicorn.Config(app="", log_config=None).get_loop_factory()
        with asyncio.Runner(loop_factory=factory) as runner:  # the loop that the server runs on
            results = runner.run(many_scripts())
    finally:
        over.set()
        for other in others:
            other.join()

    assert [each.exit_code for each in results] == [0] * (ROUNDS * AT_ONCE)
    assert lost == []
