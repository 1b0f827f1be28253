"""The log stream of a workflow, all pods or one, followed or not.

Knows `logOptions.*` and the order of lines. Lines come from `logs.py`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass

from bridge.localargo.encoding import encode, nano_timestamp
from bridge.localargo.engine import Engine
from bridge.localargo.errors import internal, invalid
from bridge.localargo.logs import Line, WorkflowLog
from bridge.localargo.masks import FieldMask
from bridge.localargo.watch import parse_number
from bridge.localargo.workflow import Workflow

_MAIN = "main"
_UNSUPPORTED = ("limitBytes", "previous", "stream")


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The query of a log request."""

    container: str
    pod: str
    follow: bool
    timestamps: bool
    tail: int | None
    since_seconds: int
    pattern: re.Pattern[str] | None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> LogQuery:
        """Read the query of a request.

        Raises:
            ArgoError: 400 for an option that is not supported, 500 for a bad `grep`.
        """
        for option in _UNSUPPORTED:
            if query.get(f"logOptions.{option}") not in {None, "", "false"}:
                raise invalid(f"logOptions.{option} is not supported by the embedded Argo")
        if "logOptions.sinceTime" in query:
            raise invalid("field type *v1.Time is not supported in query parameters")
        tail = query.get("logOptions.tailLines")
        return cls(
            container=query.get("logOptions.container", ""),
            pod=query.get("podName", ""),
            follow=query.get("logOptions.follow") == "true",
            timestamps=query.get("logOptions.timestamps") == "true",
            tail=parse_number(tail) if tail else None,
            since_seconds=parse_number(query.get("logOptions.sinceSeconds")),
            pattern=_compiled(query.get("grep", "")),
        )

    def selects(self, line: Line, oldest: int) -> bool:
        """Whether the line is wanted."""
        return (
            self.container == _MAIN
            and self.pod in {"", line.pod}
            and line.at >= oldest
            and (self.pattern is None or self.pattern.search(line.text) is not None)
        )


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern) if pattern else None
    except re.error as error:
        text = f'failed to compile "{pattern}": error parsing regexp: {error.msg}: `{pattern}`'
        raise internal(text) from error


async def follow(
    engine: Engine, name: str, query: Mapping[str, str], mask: FieldMask
) -> AsyncGenerator[list[bytes], None]:
    """Yield batches of frames; a followed log ends when the workflow has ended or is gone.

    Raises:
        ArgoError: 404, and as `LogQuery.parse`.
    """
    asked = LogQuery.parse(query)
    if engine.find(name) is None and engine.archive.find(name) is not None:
        return  # the archive keeps no logs
    workflow = engine.get(name)
    log = engine.logs.of(workflow.uid)
    oldest = time.time_ns() - asked.since_seconds * 1_000_000_000 if asked.since_seconds else 0
    seen = len(log.lines)
    first = [line for line in log.lines if asked.selects(line, oldest)]
    if asked.tail is not None:
        first = _tails(first, asked.tail)
    if first:
        yield [_frame(line, asked, mask) for line in first]
    while asked.follow and not _ended(engine, workflow, log, seen):
        await _wait(engine, log, seen)
        lines = log.lines[seen:]
        seen += len(lines)
        batch = [_frame(line, asked, mask) for line in lines if asked.selects(line, oldest)]
        if batch:
            yield batch


def _ended(engine: Engine, workflow: Workflow, log: WorkflowLog, seen: int) -> bool:
    if engine.find(workflow.name) is not workflow:
        return True
    return workflow.completed and len(log.lines) <= seen


async def _wait(engine: Engine, log: WorkflowLog, seen: int) -> None:
    """Wait for lines, then a little more: the real server sends once a second."""
    if len(log.lines) <= seen:
        log.changed.clear()
        await log.changed.wait()
    await asyncio.sleep(engine.settings.log_seconds)


def _tails(lines: Iterable[Line], count: int) -> list[Line]:
    by_pod: dict[str, list[Line]] = {}
    for line in lines:
        by_pod.setdefault(line.pod, []).append(line)
    kept = [line for pod in by_pod.values() for line in (pod[-count:] if count else ())]
    return sorted(kept, key=lambda line: line.at)


def _frame(line: Line, asked: LogQuery, mask: FieldMask) -> bytes:
    """`{"result":{"content":…,"podName":…}}`; an empty line has no content."""
    content = f"{nano_timestamp(line.at)} {line.text}" if asked.timestamps else line.text
    result = {"content": content, "podName": line.pod} if content else {"podName": line.pod}
    return encode(mask.frame({"result": result}))
