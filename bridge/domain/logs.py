"""Pod log lines: which are the user's, and how they are told.

Knows the executor's own lines and the timestamps of Kubernetes logs (argo-recordings, section 7).
Must not know streams.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 2_000

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ?")
_EXECUTOR = re.compile(r"^time=\S+ level=\w+ .*\bargo=true\b|^time=\S+ .*\bargo=true\b.* level=\w+")
_EXIT_STATUS = re.compile(r"^Error: exit status \d+$")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class PodLine:
    """One line of a pod, with Kubernetes' time of it."""

    time: str
    text: str


def parse_line(content: str) -> PodLine:
    """Split ``timestamps=true`` content; a line without a time keeps an empty one."""
    match = _TIMESTAMP.match(content)
    if match is None:
        return PodLine("", content)
    return PodLine(_padded(match[1]), content[match.end() :])


def _padded(time: str) -> str:
    """Nanoseconds to nine digits: Kubernetes drops trailing zeros, and times are compared."""
    seconds, _, fraction = time.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<9}Z"


def is_executor_line(text: str) -> bool:
    """Whether Argo's executor wrote it: most lines of a container log are not the user's."""
    return _EXECUTOR.search(text) is not None or _EXIT_STATUS.match(text) is not None


def clean(text: str) -> str:
    """*text* for a terminal or a page: no colours, no control characters, no endless lines."""
    plain = _CONTROLS.sub("", _ANSI.sub("", text)).rstrip()
    return plain if len(plain) <= MAX_LINE else plain[: MAX_LINE - 1] + "…"
