"""YAML that is made to be dear to read."""

from __future__ import annotations

import tracemalloc
from time import process_time

import pytest

from bridge.domain.definitions import parse_definition
from bridge.domain.errors import DefinitionInvalid

SIZE = 250_000
HEAD = "apiVersion: bridge/v1\nkind: Action\n"
LAUGHS = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
LAUGHS += [
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 10)}]" for n in range(9)
]
SIXTY = ":".join(["59"] * (SIZE // 3))

BOMBS = {
    "billion laughs": ("\n".join(LAUGHS), 2, "must not use YAML aliases"),
    "itself": ("a: &a [*a]", 1, "must not use YAML aliases"),
    "merge": ("a: &a {x: 1}\nb: {<<: *a}", 2, "must not use YAML aliases"),
    "flow": (f"{HEAD}x: {'[' * SIZE}", 3, "nested more than 64 levels"),
    "block": (f"{HEAD}x:\n{'- ' * (SIZE // 2)}a", 4, "nested more than 64 levels"),
    "base 60": (f"{HEAD}x: {SIXTY}", 3, "a number of more than 100 digits"),
    "base 60 with a point": (f"{HEAD}x: {SIXTY}.5", 3, "a number of more than 100 digits"),
    "tagged": (f'{HEAD}x: !!int "{SIXTY}"', 3, "a number of more than 100 digits"),
    "digits": (f"{HEAD}x: {'1' * SIZE}", 3, "a number of more than 100 digits"),
    "keys": (
        HEAD + "".join(f"k{n}: 1\n" for n in range(20_000)),
        5_000,
        "more than 10000 keys and values",
    ),
    "empty flow": (f"{HEAD}x: {{{'a,' * (SIZE // 2)}}}", 3, "more than 10000 keys and values"),
    "set": (f"{HEAD}x: !!set {{{'a,' * (SIZE // 3)}}}", 3, "more than 10000 keys and values"),
    "wrong keys": (HEAD + "".join(f"k{n}: 1\n" for n in range(4_900)), 1, "extra inputs"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_with_its_line(bomb: str):
    """A definition that is made to exhaust the bridge costs a sentence, little time and memory."""
    text, line, message = BOMBS[bomb]
    tracemalloc.start()
    before = process_time()
    try:
        with pytest.raises(DefinitionInvalid, match=message) as caught:
            parse_definition(text, file="bomb/action.yaml")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (caught.value.file, caught.value.line) == ("bomb/action.yaml", line)
    assert process_time() - before < 5  # the measurement of memory takes most of it
    assert most < 50_000_000
    assert len(caught.value.detail) < 5_000


def test_long_text_that_looks_like_a_number_is_text():
    """Only plain numbers are bounded: what is quoted, and ordinary sentences, may be long."""
    quoted = f'{HEAD}metadata: "{"1" * 500}"\n# {"1" * 500}\nspec: 1{" and a word" * 50}'
    with pytest.raises(DefinitionInvalid, match="valid dictionary"):
        parse_definition(quoted, file="f")
