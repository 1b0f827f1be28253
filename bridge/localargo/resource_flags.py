"""Flags of a resource template, read as kubectl reads them.

Knows the flags that a template may pass to kubectl. Must not know objects. A flag that is not
listed is refused: ignoring it would pretend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_TEXT = {
    "-n": "namespace",
    "--namespace": "namespace",
    "-l": "selector",
    "--selector": "selector",
    "--field-manager": "",
    "--grace-period": "",
    "--timeout": "",
}
_SWITCHES = {
    "-A": "everywhere",
    "--all-namespaces": "everywhere",
    "--all": "all",
    "--ignore-not-found": "ignore_not_found",
    "--wait": "",
    "--now": "",
    "--force": "",
    "--cascade": "",
    "--server-side": "",
    "--force-conflicts": "",
}


class FlagError(Exception):
    """Flags that kubectl would refuse; `str()` is its line on stderr."""


@dataclass(frozen=True, slots=True)
class ResourceFlags:
    """What the flags ask for; "" is not given. `words` are the arguments (`namespace`, a name)."""

    words: tuple[str, ...] = ()
    namespace: str = ""
    selector: str = ""
    everywhere: bool = False
    all: bool = False
    ignore_not_found: bool = False

    @classmethod
    def parse(cls, flags: Sequence[str]) -> ResourceFlags:
        """Read the flags; raise FlagError for an unknown one or a value that is missing."""
        given = _Given()
        rest = list(flags)
        while rest:
            given.take(rest)
        return cls(
            words=tuple(given.words),
            namespace=given.texts.get("namespace", ""),
            selector=given.texts.get("selector", ""),
            everywhere="everywhere" in given.switches,
            all="all" in given.switches,
            ignore_not_found="ignore_not_found" in given.switches,
        )

    @property
    def targets(self) -> tuple[str, tuple[str, ...]]:
        """Return the kind's word and the names: `namespace a b`, `namespace/a`; "" if none."""
        if not self.words:
            return "", ()
        if "/" in self.words[0]:
            pairs = [word.partition("/") for word in self.words]
            return pairs[0][0], tuple(name for _, _, name in pairs)
        return self.words[0], self.words[1:]


@dataclass(slots=True)
class _Given:
    words: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    switches: set[str] = field(default_factory=set)

    def take(self, rest: list[str]) -> None:
        """Consume the first of `rest`, and its value if it has one."""
        word = rest.pop(0)
        name, has_value, value = word.partition("=")
        if not word.startswith("-"):
            self.words.append(word)
        elif name in _TEXT:
            if not has_value and not rest:
                raise FlagError(f"error: flag needs an argument: {_described(name)}")
            self.texts[_TEXT[name]] = value if has_value else rest.pop(0)
        elif name in _SWITCHES:
            if value != "false":
                self.switches.add(_SWITCHES[name])
        else:
            raise FlagError(f"error: unknown {_described(name)}")


def _described(name: str) -> str:
    if name.startswith("--"):
        return f"flag: {name}"
    return f"shorthand flag: '{name[1:2]}' in {name}"
