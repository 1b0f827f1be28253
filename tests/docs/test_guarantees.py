"""What is promised in the docs is held by a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "guarantees.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")

SENTENCES = [line[2:] for line in PAGE.read_text().splitlines() if line.startswith("- ")]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_promise_is_held_by_a_test(sentence: str):
    """Each sentence of the guarantees names at least one test, and each of them exists."""
    named = _TEST.findall(sentence)

    assert named
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert name in {node.name for node in tree.body if isinstance(node, functions)}, file


def test_every_promise_is_a_sentence_with_its_test():
    """Nothing is promised between the lines: the page has headings, one introduction and a list."""
    lines = [line for line in PAGE.read_text().splitlines() if line.strip()]
    others = [line for line in lines if not line.startswith(("#", "- "))]

    assert len(others) == 1
    assert len(SENTENCES) > 30
