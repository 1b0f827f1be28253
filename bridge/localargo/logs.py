"""What the pods of workflows have printed.

Knows lines, times and pod names. Knows nothing of processes (`processes.py` writes here) nor of
HTTP (`log_stream.py` reads).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from bridge.localargo.encoding import milli_timestamp

LINE_LIMIT = 1 << 20  # longer lines are split, as the log of a container is
POD_LIMIT = 8 << 20  # bytes kept of one pod; what comes after is dropped and said to be


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a pod; `at` is in nanoseconds since the epoch."""

    at: int
    pod: str
    text: str


@dataclass(slots=True)
class WorkflowLog:
    """All lines of one workflow in the order they came."""

    lines: list[Line] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, pod: str, text: str) -> None:
        """Keep a line, split if it is long; drop it once the pod has printed too much."""
        used = self.sizes.get(pod, 0)
        if used > POD_LIMIT:
            return
        self.sizes[pod] = used + len(text) + 1
        if self.sizes[pod] > POD_LIMIT:
            text = executor_line("output limit reached, the rest is dropped", f"limit={POD_LIMIT}")
        now = time.time_ns()
        for start in range(0, max(len(text), 1), LINE_LIMIT):
            self.lines.append(Line(now, pod, text[start : start + LINE_LIMIT]))
        self.changed.set()


class LogStore:
    """The logs of all workflows by uid."""

    def __init__(self) -> None:
        self._by_uid: dict[str, WorkflowLog] = {}

    def of(self, uid: str) -> WorkflowLog:
        """The log of a workflow; an empty one if nothing was printed."""
        return self._by_uid.setdefault(uid, WorkflowLog())

    def forget(self, uid: str) -> None:
        """Drop a log, as deleting the pods does; readers of it come to their end."""
        log = self._by_uid.pop(uid, None)
        if log is not None:
            log.lines.clear()
            log.changed.set()

    def wake(self, uid: str) -> None:
        """Let readers look whether the workflow has ended."""
        log = self._by_uid.get(uid)
        if log is not None:
            log.changed.set()


def executor_line(message: str, *attributes: str) -> str:
    """A line that Argo's executor writes into the log of a pod, marked `argo=true`."""
    head = f"time={milli_timestamp(time.time_ns())} level=INFO"
    shown = f'"{message}"' if " " in message else message
    return " ".join([head, f"msg={shown}", "argo=true", *attributes])
