"""Mutexes between workflows: one holder, the others wait in the order of priority and creation.

Knows keys and holders as text. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Mutexes:
    """All mutexes of the controller, by `<namespace>/Mutex/<name>`."""

    _holders: dict[str, str] = field(default_factory=dict)
    _waiting: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)

    def acquire(
        self, keys: tuple[str, ...], holder: str, *, priority: int, created: float
    ) -> str | None:
        """Take all the mutexes, or none of them; the first one that is not free, if any."""
        for key in keys:
            queue = self._waiting.setdefault(key, {})
            queue[holder] = (-float(priority), created)
            first = min(queue, key=lambda name: (queue[name], name))
            if self._holders.get(key, holder) != holder or first != holder:
                return key
        for key in keys:
            self._holders[key] = holder
            del self._waiting[key][holder]
        return None

    def holder(self, key: str) -> str:
        """Who holds a mutex; empty if nobody does."""
        return self._holders.get(key, "")

    def release(self, holder: str) -> list[str]:
        """Let go of everything held or waited for; who may try again now."""
        touched = [key for key, name in self._holders.items() if name == holder]
        for key in touched:
            del self._holders[key]
        for key, queue in self._waiting.items():
            if queue.pop(holder, None) is not None and key not in touched:
                touched.append(key)
        return list(dict.fromkeys(name for key in touched for name in self._waiting.get(key, {})))
