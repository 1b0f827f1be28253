"""The `fields` parameter of Argo Server: which parts of an answer are kept.

A list of dotted paths keeps those parts; a list that starts with a dash drops them. In a stream
the mask is laid over whole frames, so a frame that holds an error is emptied unless `error` is
named (argo-recordings/watch-resourceversion, one-fields-without-error). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldMask:
    """A parsed `fields` parameter; two requests with the same text share one value."""

    paths: tuple[tuple[str, ...], ...] = ()
    exclude: bool = False

    @classmethod
    def parse(cls, text: str) -> FieldMask:
        """Read the parameter; an empty text keeps everything."""
        names = text.removeprefix("-").split(",")
        return cls(tuple(tuple(name.split(".")) for name in names if name), text.startswith("-"))

    def __bool__(self) -> bool:
        return bool(self.paths)

    def apply(self, value: dict[str, Any]) -> dict[str, Any]:
        """The parts of `value` that the mask lets through, in the order they had."""
        if not self.paths:
            return value
        kept: dict[str, Any] = (
            self._without(value, self.paths) if self.exclude else self._only(value, self.paths)
        )
        return kept

    def frame(self, value: dict[str, Any]) -> dict[str, Any]:
        """The same for a frame of a stream: what is filtered has its keys sorted."""
        return _sorted(self.apply(value)) if self.paths else value

    def _only(self, value: Any, paths: tuple[tuple[str, ...], ...]) -> Any:
        if any(not path for path in paths):
            return value
        if isinstance(value, list):
            return [self._only(item, paths) for item in value]
        if not isinstance(value, dict):
            return None
        kept = {}
        wanted = {path[0] for path in paths}
        for key, whole in value.items():
            if key in wanted:
                part = self._only(whole, tuple(path[1:] for path in paths if path[0] == key))
                if part is not None or whole is None:
                    kept[key] = part
        return kept

    def _without(self, value: Any, paths: tuple[tuple[str, ...], ...]) -> Any:
        if isinstance(value, list):
            return [self._without(item, paths) for item in value]
        if not isinstance(value, dict):
            return value
        gone = {path[0] for path in paths if len(path) == 1}
        kept = {}
        for key, part in value.items():
            if key in gone:
                continue
            rest = tuple(path[1:] for path in paths if path[0] == key and len(path) > 1)
            kept[key] = self._without(part, rest) if rest else part
        return kept


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
