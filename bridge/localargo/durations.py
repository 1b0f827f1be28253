"""Durations as templates write them, and as Argo's messages do. Pure."""

from __future__ import annotations

import re

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def parse_duration(text: str) -> float:
    """Seconds of `8`, `8s`, `1m30s`, `2d`.

    Raises:
        ValueError: not a duration; the text is Go's.
    """
    if re.fullmatch(r"\d+", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'time: invalid duration "{text}"')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def humanize(seconds: float) -> str:
    """A duration with its two largest units: `2 minutes 0 seconds`, `7 seconds`."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} seconds"
    if whole < _HOUR:
        return f"{whole // _MINUTE} minutes {whole % _MINUTE} seconds"
    if whole < _DAY:
        return f"{whole // _HOUR} hours {whole % _HOUR // _MINUTE} minutes"
    return f"{whole // _DAY} days {whole % _DAY // _HOUR} hours"
