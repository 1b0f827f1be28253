"""What is promised in the docs is held by a test that exists."""

from __future__ import annotations

import pytest

from tests.docs.naming import ROOT, exists, named_tests

PAGE = ROOT / "docs" / "explanation" / "guarantees.md"

SENTENCES = [line[2:] for line in PAGE.read_text().splitlines() if line.startswith("- ")]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_promise_is_held_by_a_test(sentence: str):
    """Each sentence of the guarantees names at least one test, and each of them exists."""
    assert named_tests(sentence)
    assert not [found for found in named_tests(sentence) if not exists(*found)]


def test_every_promise_is_a_sentence_with_its_test():
    """Nothing is promised between the lines: the page has headings, one introduction and a list."""
    lines = [line for line in PAGE.read_text().splitlines() if line.strip()]
    others = [line for line in lines if not line.startswith(("#", "- "))]

    assert len(others) == 1
    assert len(SENTENCES) > 30
