"""Tests that a document names as ``tests/…/file.py::test_name``, and whether they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def named_tests(text: str) -> list[tuple[str, str]]:
    """File and function of each test that *text* names."""
    return _TEST.findall(text)


def exists(file: str, name: str) -> bool:
    """Whether there is such a test."""
    if not (ROOT / file).is_file():
        return False
    tree = ast.parse((ROOT / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return name in {node.name for node in tree.body if isinstance(node, functions)}
