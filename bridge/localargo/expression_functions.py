"""Functions an expression may call, and the values they take and give.

Knows expr-lang's builtins and Argo's additions (asInt, asFloat, toJson, jsonpath, sprig).
Must not know syntax, tags or workflows. A function raises OperandError with the reason; the
evaluator adds the place. Left out are functions that read the server's environment: Argo
removes `sprig.env` and `sprig.expandenv` too (its `util/expr/env`).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from bridge.localargo.paths import PathError, follow

Function = Callable[..., Any]

_MAX_TEXT = 1_000_000
_BIG_FLOAT, _SMALL_FLOAT = 1e21, 1e-6
_MAX_INT = 1 << 63


class OperandError(Exception):
    """A function or operator was given a value it does not take; `str()` is expr-lang's reason."""


def type_name(value: Any) -> str:
    """Return Go's name of the value's type, as error texts show it."""
    if value is None:
        return "<nil>"
    names = {bool: "bool", int: "int", float: "float64", str: "string"}
    containers = "[]interface {}" if isinstance(value, list) else "map[string]interface {}"
    return names.get(type(value), containers)


def to_json(value: Any) -> str:
    """Return `value` as Go's `encoding/json` writes it.

    Keys are sorted, `<`, `>`, `&`, U+2028 and U+2029 are escaped, and a whole float has no
    fraction. Infinite numbers and functions raise OperandError.
    """
    if isinstance(value, Mapping):
        pairs = sorted((str(key), to_json(item)) for key, item in value.items())
        return "{" + ",".join(f"{_json_string(key)}:{item}" for key, item in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(to_json(item) for item in value) + "]"
    if isinstance(value, str):
        return _json_string(value)
    if isinstance(value, float):
        return _json_float(value)
    if value is None or isinstance(value, int):
        return json.dumps(value)
    raise OperandError(f"json: unsupported type: {type_name(value)}")


def show(value: Any) -> str:
    """Return `value` as Go's `%v` prints it; the `string` function gives the same."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _json_float(value) if math.isfinite(value) else str(value).replace("inf", "+Inf")
    if isinstance(value, list):
        return "[" + " ".join(show(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{show(value[key])}" for key in sorted(value)) + "]"
    return str(value)


def jsonpath(text: str, path: str) -> Any:
    """Return what `path` (`$.a.b[0]['c-d']`) selects in the JSON `text`, else OperandError."""
    try:
        return follow(from_json(text), path.removeprefix("$"))
    except PathError as error:
        raise OperandError(str(error)) from error


def from_json(text: str) -> Any:
    """Return the JSON value of `text`; raise OperandError with Go's reason for a cut-off text."""
    try:
        return json.loads(text)
    except RecursionError:
        raise OperandError("exceeded max depth") from None
    except ValueError:
        raise OperandError("unexpected end of JSON input") from None


def _json_string(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    for rune in ("<", ">", "&", "\u2028", "\u2029"):
        quoted = quoted.replace(rune, f"\\u{ord(rune):04x}")
    return quoted


def _json_float(value: float) -> str:
    if not math.isfinite(value):
        raise OperandError("json: unsupported value: infinite or not a number")
    if value == int(value) and abs(value) < _BIG_FLOAT:
        return str(int(value))
    text = repr(value)
    if "e" in text and _SMALL_FLOAT <= abs(value) < _BIG_FLOAT:
        return f"{value:.20f}".rstrip("0")
    return text


def _to_int(value: Any) -> int:
    try:
        number = int(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        raise OperandError(f"invalid operation: int({show(value)})") from None
    if number is None or isinstance(value, bool):
        raise OperandError(f"invalid argument for int (type {type_name(value)})")
    if not -_MAX_INT <= number < _MAX_INT:
        raise OperandError(f"invalid operation: int({show(value)})")
    return number


def _to_float(value: Any) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        raise OperandError(f"invalid operation: float({show(value)})") from None
    if number is None or isinstance(value, bool):
        raise OperandError(f"invalid argument for float (type {type_name(value)})")
    return number


def _length(value: Any) -> int:
    if not isinstance(value, str | list | Mapping):
        raise OperandError(f"invalid argument for len (type {type_name(value)})")
    return len(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise OperandError(f"cannot use {type_name(value)} as argument (type string)")
    return value


def _pretty_json(value: Any) -> str:
    return json.dumps(json.loads(to_json(value)), indent=2, ensure_ascii=False)


def _repeat(count: int, text: str) -> str:
    if count * len(_text(text)) > _MAX_TEXT:
        raise OperandError(f"repeat would make more than {_MAX_TEXT} characters")
    return text * count


def _decode_base64(text: str) -> str:
    """Return the decoded text; sprig answers a broken one with the reason, not with an error."""
    try:
        return base64.b64decode(_text(text), validate=True).decode(errors="replace")
    except binascii.Error:
        return "illegal base64 data at input byte 0"


def _encode_base64(text: str) -> str:
    return base64.b64encode(_text(text).encode(errors="replace")).decode()


SPRIG: Mapping[str, Function] = MappingProxyType(
    {
        "upper": lambda text: _text(text).upper(),
        "lower": lambda text: _text(text).lower(),
        "trim": lambda text: _text(text).strip(),
        "trimPrefix": lambda prefix, text: _text(text).removeprefix(_text(prefix)),
        "trimSuffix": lambda suffix, text: _text(text).removesuffix(_text(suffix)),
        "replace": lambda old, new, text: _text(text).replace(_text(old), _text(new)),
        "repeat": _repeat,
        "b64enc": _encode_base64,
        "b64dec": _decode_base64,
        "default": lambda fallback, value: value or fallback,
    }
)
"""Members of `sprig`, with sprig's argument order (the subject comes last)."""

BUILTINS: Mapping[str, Function] = MappingProxyType(
    {
        "int": _to_int,
        "float": _to_float,
        "string": show,
        "len": _length,
        "upper": lambda text: _text(text).upper(),
        "lower": lambda text: _text(text).lower(),
        "trim": lambda text: _text(text).strip(),
        "split": lambda text, separator: _text(text).split(_text(separator)),
        "join": lambda items, separator="": _text(separator).join(map(_text, items)),
        "toJSON": _pretty_json,
        "fromJSON": lambda text: from_json(_text(text)),
    }
)
"""expr-lang's own functions: no name of the environment, so never missing from it."""

ADDED: Mapping[str, Any] = MappingProxyType(
    {
        "asInt": _to_int,
        "asFloat": _to_float,
        "toJson": to_json,
        "jsonpath": lambda text, path: jsonpath(_text(text), _text(path)),
        "sprig": SPRIG,
    }
)
"""What Argo adds to every environment."""
