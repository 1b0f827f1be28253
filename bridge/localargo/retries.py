"""`retryStrategy`: what becomes of a Retry node when its last attempt has ended.

Knows the rules and messages of Argo's processNodeRetries. Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.localargo.durations import humanize, parse_duration
from bridge.localargo.nodes import ERROR, FAILED, SUCCEEDED, Node
from bridge.localargo.templates import as_text

# What Argo takes for a fault of the moment (util/errors), found in the message of the node.
_TRANSIENT = (
    "etcdserver: request timed out",
    "etcdserver: leader changed",
    "connection refused",
    "connection reset by peer",
    "i/o timeout",
    "TLS handshake timeout",
    "no such host",
    "unexpected EOF",
    "net/http: request canceled",
    "the object has been modified",
    "Too Many Requests",
    "exceeded quota",
    "(ServiceUnavailable)",
    "(InternalError)",
    "(Timeout)",
    "(ServerTimeout)",
    "(TooManyRequests)",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do: end with `phase`, or wait until `wait_until`, or make another attempt."""

    phase: str | None = None
    message: str = ""
    wait_until: float | None = None


@dataclass(frozen=True, slots=True)
class _Backoff:
    seconds: float
    limit: float | None

    @classmethod
    def of(cls, backoff: Mapping[str, Any], attempts: int) -> _Backoff:
        factor = float(as_text(backoff.get("factor") or 1)) or 1.0
        seconds = parse_duration(as_text(backoff["duration"])) * factor ** (attempts - 1)
        if backoff.get("cap"):
            seconds = min(seconds, parse_duration(as_text(backoff["cap"])))
        limit = backoff.get("maxDuration")
        return cls(seconds, parse_duration(as_text(limit)) if limit else None)


def decide(
    strategy: Mapping[str, Any],
    attempts: Sequence[Node],
    *,
    now: float,
    stopped: str,
    expression: Callable[[str], bool],
) -> Verdict:
    """The verdict on a Retry node whose attempts have all ended.

    Args:
        strategy: `retryStrategy` of the template.
        attempts: the attempts, oldest first; at least one.
        now: Unix seconds.
        stopped: why no attempt may be made any more; empty if it may.
        expression: evaluates `retryStrategy.expression`.
    """
    last = attempts[-1]
    if not last.failed:
        return Verdict(phase=SUCCEEDED)
    if stopped:
        return Verdict(last.phase, stopped)
    if strategy.get("backoff", {}).get("duration"):
        verdict = _wait(strategy, attempts, now)
        if verdict is not None:
            return verdict
    return _another(strategy, attempts, expression) or Verdict()


def _wait(strategy: Mapping[str, Any], attempts: Sequence[Node], now: float) -> Verdict | None:
    last = attempts[-1]
    backoff = _Backoff.of(strategy["backoff"], len(attempts))
    until = (last.finished_at or now) + backoff.seconds
    if backoff.limit is not None:
        end = attempts[0].started_at + backoff.limit
        if now > end:
            return Verdict(last.phase, "Max duration limit exceeded")
        if until > end:
            return Verdict(last.phase, "Backoff would exceed max duration limit")
    if now < until and len(attempts) <= (_limit(strategy) or 0):
        return Verdict(message=f"Backoff for {humanize(backoff.seconds)}", wait_until=until)
    return None


def _another(
    strategy: Mapping[str, Any], attempts: Sequence[Node], expression: Callable[[str], bool]
) -> Verdict | None:
    last = attempts[-1]
    if not _policy_allows(strategy, last):
        return Verdict(last.phase, last.message)
    limit = _limit(strategy)
    if limit is not None and len(attempts) > limit:
        return Verdict(last.phase, "No more retries left")
    if strategy.get("expression") and not expression(strategy["expression"]):
        return Verdict(last.phase, "retryStrategy.expression evaluated to false")
    return None


def _policy_allows(strategy: Mapping[str, Any], last: Node) -> bool:
    fallback = "Always" if strategy.get("expression") else "OnFailure"
    policy = strategy.get("retryPolicy") or fallback
    if policy == "OnTransientError":
        return any(text in last.message for text in _TRANSIENT)
    allowed = {"Always": {FAILED, ERROR}, "OnError": {ERROR}, "OnFailure": {FAILED}}
    return last.phase in allowed.get(policy, set())


def _limit(strategy: Mapping[str, Any]) -> int | None:
    limit = strategy.get("limit")
    return None if limit is None else int(as_text(limit))
