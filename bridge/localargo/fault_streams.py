"""One stream under faults: when it ends, stalls or repeats itself.

Knows rules and frames. What frames say is in `watch.py` and `log_stream.py`, their framing in
`streams.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Literal, cast

from bridge.localargo.errors import end_of_watch, internal, too_old
from bridge.localargo.events import ADDED, MODIFIED, Event, EventLog, Watcher, before
from bridge.localargo.fault_draws import Drawn
from bridge.localargo.fault_rules import StreamRule
from bridge.localargo.streams import Chunks, InterruptedStreamError

Ending = Literal["rotate", "expire", "cut", "end", "silent", "internal"]
SHAPES = frozenset({"delay", "coalesce", "replay", "duplicate", "lose"})

Change = tuple[str, Event]


class OpenStream:
    """A stream that is open.

    Args:
        route: `watch` or `log`.
        since: the resourceVersion that was asked for, or the empty string.
        log: tells the version of now.
        ending: the rule that ends it, if there is one.
        shapes: the rules that change what it shows.
    """

    def __init__(
        self,
        route: str,
        *,
        since: str,
        log: EventLog,
        ending: Drawn[StreamRule] | None,
        shapes: Sequence[Drawn[StreamRule]],
    ) -> None:
        self.route = route
        self._log = log
        self._since = since or str(log.version)
        self._ending = ending
        self._shapes = {
            name: [drawn for drawn in shapes if drawn.rule.fault == name] for name in SHAPES
        }
        self._told: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._held: list[Change] = []

    def end(self, how: Ending) -> None:
        """End it now, unless that was told before."""
        if not self._told.done():
            self._told.set_result(how)

    async def shaped(self, frames: Chunks) -> Chunks:
        """The same frames under the rules.

        Raises:
            ArgoError: at the end of a watch that is rotated or too old.
            InterruptedStreamError: where it is cut or falls silent.
        """
        timer = self._start()
        left = self._ending.rule.events if self._ending else None
        try:
            async with contextlib.aclosing(frames):
                while batch := await self._next(frames):
                    await self._delay()
                    shown = batch[:left]
                    if shown and not self._shapes["lose"]:
                        yield shown
                    if left is not None:
                        left -= len(shown)
                        if not left:
                            self._end_by_rule()
        finally:
            if timer is not None:
                timer.cancel()
        if self._told.done():
            self._finish(self._told.result())

    def _start(self) -> asyncio.TimerHandle | None:
        """Begin to count: a rule may end the stream at once, later, or after frames only."""
        if self._ending is None:
            return None
        if self._ending.rule.at_once or self._ending.rule.events == 0:
            self._end_by_rule()
        elif self._ending.rule.seconds is not None:
            loop = asyncio.get_running_loop()
            return loop.call_later(self._ending.seconds(), self._end_by_rule)
        return None

    def _end_by_rule(self) -> None:
        if self._ending is not None:
            self.end(cast("Ending", self._ending.rule.fault))

    async def _next(self, frames: Chunks) -> list[bytes]:
        """The next batch; empty when the frames or the stream have come to their end."""
        if self._told.done():
            return []
        pending = asyncio.ensure_future(anext(frames, []))
        try:
            await asyncio.wait((pending, self._told), return_when=asyncio.FIRST_COMPLETED)
            return pending.result() if pending.done() else []
        finally:
            if not pending.done():
                pending.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pending

    async def _delay(self) -> None:
        for drawn in self._shapes["delay"]:
            await asyncio.wait((self._told,), timeout=drawn.seconds())

    def _finish(self, how: Ending) -> None:
        match how:
            case "rotate":
                raise end_of_watch()
            case "expire":
                raise too_old(self._since, self._log.version)
            case "internal":
                raise internal(self._ending.rule.message if self._ending else "")
            case "cut" | "silent":
                raise InterruptedStreamError(cut=how == "cut")
            case "end":
                return

    async def take(self, watcher: Watcher) -> list[Change]:
        """What the watch is to show next. A wait that is cancelled loses nothing."""
        if not self._held:
            self._held = await watcher.take()
        for drawn in self._shapes["coalesce"]:
            await asyncio.sleep(drawn.seconds())
            self._held = _newest([*self._held, *watcher.queued()])
        changes, self._held = self._held, []
        return [shown for change in changes for shown in self._repeated(*change)]

    def _repeated(self, kind: str, event: Event) -> list[Change]:
        shown = [(kind, event)]
        shown += [(kind, event) for drawn in self._shapes["duplicate"] if drawn.admits()]
        stale = before(event) if kind == MODIFIED else None
        if stale is not None:
            shown += [(MODIFIED, stale) for drawn in self._shapes["replay"] if drawn.admits()]
        return shown


def _newest(changes: Sequence[Change]) -> list[Change]:
    """The last change of each workflow; what was added and then modified is still added."""
    kept: dict[str, Change] = {}
    for kind, event in changes:
        uid = event.snapshot["metadata"]["uid"]
        earlier, _ = kept.pop(uid, (kind, event))
        kept[uid] = (ADDED if earlier == ADDED and kind == MODIFIED else kind, event)
    return list(kept.values())
