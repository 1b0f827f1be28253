"""Statements of the SQL stores: only names and places become part of them."""

from __future__ import annotations

import pytest

from bridge.adapters.rows import delete, insert, select, update


@pytest.mark.parametrize("name", ["runs; DROP TABLE runs", 'ru"ns', "", "Runs", "r.id"])
def test_nothing_but_a_name_becomes_part_of_a_statement(name: str):
    """No text from anywhere can turn into SQL by way of a table's or a column's name."""
    for build in (
        lambda: select(("id",), name),
        lambda: select((name,), "runs"),
        lambda: insert(name, ("id",)),
        lambda: insert("runs", (name,)),
        lambda: update("runs", (name,)),
        lambda: delete(name, "id"),
        lambda: delete("runs", name),
    ):
        with pytest.raises(ValueError, match="no name"):
            build()
