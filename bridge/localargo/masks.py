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
        exclude = text.startswith("-")
        names = (part.strip().removeprefix("-") for part in text.split(","))
        return cls(tuple(tuple(name.split(".")) for name in names if name), exclude)

    def __bool__(self) -> bool:
        return bool(self.paths)

    def apply(self, value: dict[str, Any]) -> dict[str, Any]:
        """The parts of `value` that the mask lets through, keys sorted as Go sorts a map."""
        if not self.paths:
            return value
        kept = self._without(value, self.paths) if self.exclude else self._only(value, self.paths)
        return _sorted(kept)

    def _only(self, value: Any, paths: tuple[tuple[str, ...], ...]) -> Any:
        if any(not path for path in paths):
            return value
        if isinstance(value, list):
            return [self._only(item, paths) for item in value]
        if not isinstance(value, dict):
            return None
        kept = {}
        for key in dict.fromkeys(path[0] for path in paths):
            if key in value:
                rest = tuple(path[1:] for path in paths if path[0] == key)
                part = self._only(value[key], rest)
                if part is not None or value[key] is None:
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
