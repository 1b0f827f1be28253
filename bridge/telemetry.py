"""Logs: JSON lines with run, action and task ids, and no secrets.

Knows structlog and the standard library's logging, which the services write to. Must not know
what is logged.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import structlog

from bridge.domain.events import Event
from bridge.domain.redaction import Redactor
from bridge.domain.runs import Run

_log = logging.getLogger(__name__)

Entry = MutableMapping[str, Any]


def redact(redactor: Callable[[], Redactor]) -> Callable[[Any, str, Entry], Entry]:
    """A processor that hides what *redactor* finds, in every field and in stacks."""

    def hide(_logger: Any, _method: str, entry: Entry) -> Entry:
        hidden: Entry = redactor().value(entry)
        return hidden

    return hide


class RunLog:
    """A subscriber that logs how runs move, under their run, action and task ids."""

    def published(self, run: Run, events: Iterable[Event]) -> None:
        """Log changes of state and ends; lines of steps stay in the run's own events."""
        for event in events:
            if event.draft.type not in {"status", "done"}:
                continue
            ids = {"run": run.id, "action": run.action, "task": run.context.task_id}
            state = {"status": str(run.status), "workflow": run.workflow_name, "seq": event.seq}
            reason = {"error": run.error.code} if run.error else {}
            _log.info("run %s", run.status, extra={**ids, **state, **reason})


def configure_logging(
    *, level: str, style: str, redactor: Callable[[], Redactor] = Redactor
) -> None:
    """Send the standard library's records through structlog to standard error.

    Args:
        level: The least level that is written.
        style: ``json``, or ``console`` for people.
        redactor: Gives what hides the secrets that are known by now.
    """
    render: Any = (
        structlog.dev.ConsoleRenderer()
        if style == "console"
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact(redactor),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
