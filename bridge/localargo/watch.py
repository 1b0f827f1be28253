"""The workflow-events stream: a watch as Argo Server passes it on.

Knows the query of a watch and how it ends. What happens is in `events.py`, the bytes around the
frames in `streams.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.localargo.encoding import encode
from bridge.localargo.engine import Engine
from bridge.localargo.errors import end_of_watch, invalid
from bridge.localargo.events import BOOKMARK, Event, Watcher
from bridge.localargo.masks import FieldMask
from bridge.localargo.selectors import Selector, parse_fields, parse_labels

_BOOKMARK_SECONDS = 60.0
_NO_TIMEOUT = 1_800.0  # the Kubernetes API ends a watch after 30 to 60 minutes


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """`listOptions.*` of a watch; `name` is a `metadata.name` of the field selector."""

    selector: Selector
    name: str | None
    since: str
    bookmarks: bool
    seconds: float

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> WatchQuery:
        """Read the query of a request.

        Raises:
            ArgoError: 400 for a selector that cannot be read or a field that cannot be selected.
        """
        if query.get("listOptions.sendInitialEvents"):
            raise invalid(
                'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: '
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is "
                "enabled"
            )
        return cls(
            selector=parse_labels(query.get("listOptions.labelSelector", "")),
            name=_name(query.get("listOptions.fieldSelector", "")),
            since=query.get("listOptions.resourceVersion", ""),
            bookmarks=query.get("listOptions.allowWatchBookmarks") == "true",
            seconds=parse_number(query.get("listOptions.timeoutSeconds")) or _NO_TIMEOUT,
        )


def parse_number(text: str | None) -> int:
    """An integer of a query; 0 if it is not given.

    Raises:
        ArgoError: 400 with Go's text.
    """
    try:
        return int(text) if text else 0
    except ValueError as error:
        raise invalid(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def _name(text: str) -> str | None:
    name = None
    for requirement in parse_fields(text).requirements:
        if requirement.key not in {"metadata.name", "metadata.namespace"}:
            raise invalid(f"field label not supported: {requirement.key}")
        if requirement.key == "metadata.name" and requirement.operator == "in":
            name = next(iter(requirement.values))
    return name


Take = Callable[[Watcher], Awaitable[list[tuple[str, Event]]]]


async def watch(
    engine: Engine,
    namespace: str,
    query: Mapping[str, str],
    mask: FieldMask,
    *,
    take: Take = Watcher.take,
) -> AsyncGenerator[list[bytes], None]:
    """Yield batches of frames until the watch times out, which ends it with an error.

    `take` gets what is to be shown next.

    Raises:
        ArgoError: 404 for a name that does not exist, 400 for a version that is too old, and
            always 8/429 "EOF" at the end.
    """
    asked = WatchQuery.parse(query)
    if asked.name is not None and engine.archive.find(asked.name) is None:
        engine.latest(asked.name)
    watcher = engine.log.watch(
        namespace, selector=asked.selector, name=asked.name, since=asked.since
    )
    try:
        async for batch in _batches(engine, watcher, asked, mask, take):
            yield batch
    finally:
        engine.log.unwatch(watcher)
    raise end_of_watch()


async def _batches(
    engine: Engine, watcher: Watcher, asked: WatchQuery, mask: FieldMask, take: Take
) -> AsyncGenerator[list[bytes], None]:
    loop = asyncio.get_running_loop()
    end = loop.time() + asked.seconds
    while (left := end - loop.time()) > 0:
        pause = min(left, _BOOKMARK_SECONDS) if asked.bookmarks else left
        try:
            events = await asyncio.wait_for(take(watcher), pause)
        except TimeoutError:
            if asked.bookmarks and loop.time() < end:
                yield [encode(mask.frame(_bookmark(engine.log.version)))]
            continue
        yield [event.frame(mask, type_) for type_, event in events]


def _bookmark(version: int) -> dict[str, Any]:
    return {
        "result": {
            "type": BOOKMARK,
            "object": {
                "metadata": {"resourceVersion": str(version)},
                "spec": {"arguments": {}},
                "status": {"startedAt": None, "finishedAt": None},
            },
        }
    }
