"""What a schema can cost: patterns that backtrack, patterns that grow, documents elsewhere."""

from __future__ import annotations

import socket
from time import process_time

import pytest

from bridge.domain.errors import InputInvalid
from bridge.domain.inputs import InputSchema
from bridge.domain.json_schema import MAX_PATTERN_TEXT, compile_schema

COSTLY = [
    r"^(a+)+$",
    r"^(?=(a+)+$)b",
    r"^(a|aa)*\1$",
    r"(?=a*b)c",
    r"a*(?=a*b)c",
    r"(?=.*.*.*.*=z)x",
    r"^(?:(?!x)a|a(?!y))*$",
]


def text_with(pattern: str) -> InputSchema:
    return InputSchema.compile({"properties": {"x": {"type": "string", "pattern": pattern}}})


@pytest.mark.parametrize("pattern", COSTLY)
@pytest.mark.parametrize("length", [MAX_PATTERN_TEXT, 60_000])
def test_no_text_makes_a_pattern_run_for_long(pattern: str, length: int):
    """Whatever somebody pastes into a field, the answer comes at once."""
    schema = text_with(pattern)
    before = process_time()

    with pytest.raises(InputInvalid) as caught:
        schema.check({"x": "a" * (length - 1) + "!"})

    assert process_time() - before < 1
    assert [error.pointer for error in caught.value.errors] == ["/x"]


def test_a_pattern_is_tried_on_text_of_its_length_only():
    """Text beyond what a pattern is tried on is refused with that reason, however it looks."""
    schema = text_with("^a*$")

    assert schema.check({"x": "a" * MAX_PATTERN_TEXT})
    with pytest.raises(InputInvalid) as caught:
        schema.check({"x": "a" * (MAX_PATTERN_TEXT + 1)})
    assert [error.message for error in caught.value.errors] == [
        f"is longer than {MAX_PATTERN_TEXT} characters"
    ]


def test_a_pattern_says_what_it_asks_for():
    """The user reads which pattern a value misses; values that are no text are not its matter."""
    schema = text_with("^[a-z]+$")

    with pytest.raises(InputInvalid, match=r'x: "A" does not match "\^\[a-z\]\+\$"'):
        schema.check({"x": "A"})
    assert compile_schema({"pattern": "^a$"}).is_valid(3)


@pytest.mark.parametrize("pattern", [r"((a{1,100}){1,100}){1,100}", r"^[\p{L}\d]{1,2000}$"])
def test_a_pattern_that_grows_is_refused_when_it_is_loaded(pattern: str):
    """The author of a definition learns that counted repetitions are too dear, and what to do."""
    with pytest.raises(ValueError, match="leave lengths to maxLength"):
        text_with(pattern)


@pytest.mark.parametrize("scheme", ["http", "https", "file"])
def test_a_schema_never_makes_the_bridge_fetch_a_document(scheme: str):
    """A definition cannot be used to reach another machine or to read a file."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        address = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/schema.json"
        with pytest.raises(ValueError, match="only references within the schema work"):
            compile_schema({"$ref": address})
        with pytest.raises(BlockingIOError):
            server.accept()


def test_references_within_a_schema_work():
    """Definitions may share parts of their schema."""
    schema = compile_schema({"definitions": {"n": {"maxLength": 2}}, "$ref": "#/definitions/n"})

    assert schema.is_valid("ab")
    assert not schema.is_valid("abc")
