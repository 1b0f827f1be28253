"""What must not be told: secrets that are known, and text that looks like one.

Knows how secrets look in log lines, headers, addresses and JSON. Must not know where the known
ones come from, nor who tells what. Lines of pods come by the thousand, so a line without any sign
of a secret costs a few searches for plain words; only the others meet the patterns.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
SHORTEST = 8
"""A shorter secret is hidden only where it is named: it might be a word of any line."""
_CERTAIN = 16
"""From here on a secret is hidden inside of words too."""

_KEY = (
    r"(?:password|passwd|passphrase|secret|token|credential"
    r"|(?:api|access|secret|private)[_-]?key)"
)
_NAMED = re.compile(rf"(?:{_KEY}|authorization|cookie)$", re.IGNORECASE)
_BARE = r"""(?!\*\*\*|(?:true|false|null|none|nil)\b|[$<%])[^\s"'&,;)\]}<>|\\]+"""
_QUOTED = r"""(?:(?!(?P=quote))(?:\\.|[^\\]))*"""
"""What stands between two quotes, which may themselves be quoted."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """Patterns for text that has one of the *signs*, which are in lower case."""

    signs: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]
    shown: str = rf"\g<1>{HIDDEN}"

    def applied(self, text: str, *, lowered: str) -> str:
        for sign in self.signs:
            if sign in lowered:
                break
        else:
            return text
        for pattern in self.patterns:
            text = pattern.sub(self.shown, text)
        return text


_RULES = (
    _Rule(
        ("private key-----",),
        (re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)"),),
        HIDDEN,
    ),
    _Rule(("eyj",), (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){1,4}"),), HIDDEN),
    # Headers: the scheme goes too, and all of a cookie.
    _Rule(
        ("authorization",),
        (
            re.compile(
                r"""(?i)(authorization\\*["']?\s*[:=]\s*(?:\\*["'])?)(?!\*\*\*)"""
                r"""(?:(?:bearer|basic|digest|token|negotiate|apikey)\s+)?[^\s"'\\,]+"""
            ),
        ),
    ),
    _Rule(("cookie",), (re.compile(r"""(?i)(cookie\\*["']?\s*:\s*(?:\\*["'])?)[^\r\n"'\\]+"""),)),
    _Rule(
        ("bearer ", "basic "),
        (re.compile(r"(?i)\b((?:bearer|basic)\s+)(?=[a-z_~+/-]*(?:\d|\.\w))[\w.~+/-]{8,}=*"),),
    ),
    _Rule(
        (
            *("passw", "passphrase", "secret", "token", "credential"),
            *("apikey", "api_key", "api-key", "accesskey", "access_key", "access-key"),
            *("privatekey", "private_key", "private-key"),
        ),
        (
            # name="value", "name": "value", name=value
            re.compile(rf"(?is)({_KEY}\\*[\"']?\s*[:=]\s*(?P<quote>\\*[\"'])){_QUOTED}"),
            re.compile(rf"(?i)({_KEY}\s*=\s*){_BARE}"),
            # name: value, if it has a digit: "password: must be longer" is no secret
            re.compile(rf"(?i)({_KEY}:\s+)(?=[^\s\"'&,;]*\d)(?=[^\s\"'&,;]{{6}}){_BARE}"),
            re.compile(rf"(?i)(?<![\w-])(--[\w-]{{0,40}}{_KEY}\s+)(?!-){_BARE}"),
        ),
    ),
    _Rule(
        ("@",),
        (
            re.compile(r"""(://[^\s/?#@:"']*:)(?!\*\*\*@)[^\s/?#"']+(?=@)"""),
            re.compile(r"""(://)[^\s/?#@:"']{20,}(?=@)"""),
        ),
    ),
)


class Redactor:
    """Hides secrets in text and in JSON values; what has none comes back as the same object."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Args: *secrets* are the known ones; those shorter than SHORTEST are left out."""
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        # The longest first: one secret may be the beginning of another.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(_literal, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """*text* with ``***`` in the place of every secret."""
        if not text:
            return text
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        lowered = text.lower()
        for rule in _RULES:
            text = rule.applied(text, lowered=lowered)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value without secrets: in texts, under names of secrets, and in texts of JSON."""
        match value:
            case str():
                return self._json_text(value)
            case Mapping():
                hidden = {name: self._field(name, item) for name, item in value.items()}
                return hidden if any(hidden[name] is not value[name] for name in hidden) else value
            case list() | tuple():
                items = [self.value(item) for item in value]
                same = all(new is old for new, old in zip(items, value, strict=True))
                return value if same else items
            case _:
                return value

    def _field(self, name: Any, item: Any) -> Any:
        if isinstance(item, str | int | float) and _NAMED.search(str(name)):
            return item if isinstance(item, bool) or item in {"", HIDDEN} else HIDDEN
        return self.value(item)

    def _json_text(self, text: str) -> str:
        """Text that is JSON stays JSON, whatever is hidden in it."""
        hidden = self.text(text)
        if hidden == text:
            return text
        if text.lstrip()[:1] in {"{", "["}:
            try:
                return json.dumps(self.value(json.loads(text)), ensure_ascii=False)
            except (ValueError, RecursionError):
                pass
        return hidden


def _forms(secret: str) -> tuple[str, ...]:
    """The ways in which a secret is written: as it is, in JSON, in an address, in base64."""
    return (
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
        b64encode(secret.encode("utf-8", "surrogatepass")).decode(),
    )


def _literal(form: str) -> str:
    literal = re.escape(form)
    return literal if len(form) >= _CERTAIN else rf"(?<![^\W_]){literal}(?![^\W_])"
