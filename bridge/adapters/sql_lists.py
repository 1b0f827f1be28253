"""The statement for a page of runs that somebody may see.

Knows which index serves which way to see a run (migrations, 0003). Must not know any database,
nor why somebody sees a run: a Scope says it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.adapters.rows import marks
from bridge.adapters.sql_session import SELECT_RUN
from bridge.domain.policy import Scope
from bridge.ports import RunFilter

Condition = tuple[str, tuple[Any, ...]]
"""A piece of SQL and the values for its marks."""


def page_of_runs(chosen: RunFilter) -> Condition:
    """The runs of a page, newest first."""
    wanted = _wanted(chosen)
    scope = chosen.scope
    if scope is None:
        return _newest(SELECT_RUN, wanted, chosen.limit)
    wanted = [("tenant = ?", (scope.tenant,)), *wanted]
    if scope.everything:
        return _newest(SELECT_RUN, wanted, chosen.limit)
    # Each way to see runs is read by its own index, and for no more than a page.
    parts = [_newest("SELECT id FROM runs", [way, *wanted], chosen.limit) for way in _ways(scope)]
    ids = " UNION ".join(" ".join(("SELECT id FROM", f"({sql})", "AS part")) for sql, _ in parts)
    seen = (f"id IN ({ids})", tuple(value for _, values in parts for value in values))
    return _newest(SELECT_RUN, [seen], chosen.limit)


def _wanted(chosen: RunFilter) -> list[Condition]:
    given: dict[str, Any] = {
        "status = ?": chosen.status,
        "action = ?": chosen.action,
        "id < ?": chosen.before,
    }
    return [(sql, (str(value),)) for sql, value in given.items() if value is not None]


def _ways(scope: Scope) -> Iterable[Condition]:
    """Every way in which *scope* shows a run; at least one."""
    yield _one_of("team", scope.teams)
    yield _one_of("action", scope.actions)
    if scope.user is not None:
        yield 'lower("user") = ?', (scope.user,)
    if scope.caller is not None:
        yield "caller = ?", (scope.caller,)
    for area in scope.areas:
        after = area[:-1] + chr(ord(area[-1]) + 1)
        yield "action >= ? AND action < ?", (area, after)


def _one_of(column: str, values: frozenset[str]) -> Condition:
    ordered = tuple(sorted(values))
    return f"{column} IN ({marks(len(ordered))})" if ordered else "1 = 0", ordered


def _newest(select: str, conditions: Iterable[Condition], limit: int) -> Condition:
    pairs = tuple(conditions)
    where = f" WHERE {' AND '.join(sql for sql, _ in pairs)}" if pairs else ""
    values = tuple(value for _, given in pairs for value in given)
    return f"{select}{where} ORDER BY id DESC LIMIT ?", (*values, limit)
