"""What a JSON document may cost before it is parsed."""

from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.json_text import MAX_NUMBER, BodyLimits, TooCostly, parse_json

LIMITS = BodyLimits(depth=4, items=10, text=20)
SIZE = 256 * 1024


@pytest.mark.parametrize(
    ("fits", "exceeds", "told"),
    [
        ("[[[[]]]]", "[[[[[]]]]]", "nested more than 4 levels deep"),
        ('{"a":{"b":[{}]}}', '{"a":{"b":[{"c":[]}]}}', "nested more than 4 levels deep"),
        ("[1,2,3,4,5,6,7,8,9,0]", "[1,2,3,4,5,6,7,8,9,0,1]", "more than 10 fields"),
        ("[[],[],[],[],[]]", "[[],[],[],[],[],[]]", "more than 10 fields"),
        ('"aaaaaaaaaaaaaaaaaaaa"', '"aaaaaaaaaaaaaaaaaaaaa"', "longer than 20 bytes"),
        (r'"\"\"\"\"\"\"\"\"\"\""', r'"\"\"\"\"\"\"\"\"\"\"\""', "longer than 20 bytes"),
        (r'{"a":"[[[[[[[[["}', r'{"aaaaaaaaaaaaaaaaaaaaa":1}', "longer than 20 bytes"),
        ('["\\\\",",,,,,,,,,,,,"]', '["\\\\",[[[["]"]]]]]', "nested more than 4 levels deep"),
        ("1" * MAX_NUMBER, "1" * (MAX_NUMBER + 1), f"more than {MAX_NUMBER} characters"),
        ("-1.5e3", "-1." + "5" * MAX_NUMBER, f"more than {MAX_NUMBER} characters"),
    ],
)
def test_each_limit_is_met_exactly(fits: str, exceeds: str, told: str):
    """What is within a limit is read, and one more is refused with that limit."""
    assert parse_json(fits.encode(), limits=LIMITS) == json.loads(fits)
    with pytest.raises(TooCostly, match=told):
        parse_json(exceeds.encode(), limits=LIMITS)


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * SIZE,
        b"]" * SIZE,
        b'{"a":' * (SIZE // 5),
        b'"' + b'\\"' * (SIZE // 2),
        b"\\" * SIZE,
        b'""' * (SIZE // 2),
        b"1" * SIZE,
        b"1e" * (SIZE // 2),
        b"[" + b"[]," * (SIZE // 3),
        b" " * SIZE,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_the_largest_body_is_refused_at_once(hostile: bytes):
    """Nobody holds up the others with a body that is made to be dear."""
    before = process_time()
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(hostile, limits=BodyLimits())
    assert process_time() - before < 0.5


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b'"\xe9"', b"NaN", b"1e999", "{}".encode("utf-16"), b"\xef\xbb\xbf{}"],
)
def test_what_is_not_json_in_utf8_is_refused(text: bytes):
    """Nothing is guessed: neither another encoding nor numbers that are none."""
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text, limits=LIMITS)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False).filter(lambda number: abs(number) < 1e300)
    | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(VALUES)
def test_an_ordinary_document_is_read_as_it_is(value: object):
    """The limits stand in nobody's way who stays within them."""
    for sent in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert parse_json(sent.encode(), limits=BodyLimits()) == value
