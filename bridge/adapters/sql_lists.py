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

_IDS = "SELECT id FROM runs"


def page_of_runs(chosen: RunFilter) -> Condition:
    """The runs of a page, newest first."""
    wanted, scope = _wanted(chosen), chosen.scope
    if scope is None:
        return _newest(SELECT_RUN, wanted, chosen.limit)
    tenant = ("tenant = ?", (scope.tenant,))
    if scope.everything:
        return _newest(SELECT_RUN, [tenant, *wanted], chosen.limit)
    parts = [_newest(_IDS, [tenant, way, *wanted], chosen.limit) for way in _single(scope)]
    # Several values of an index are in no order together: their ids are read, and then sorted.
    after = [("id < ?", (chosen.before,))] if chosen.before is not None else []
    parts += [_where(_IDS, [tenant, way, *after]) for way in _several(scope)]
    seen = " UNION ".join(" ".join(("SELECT id FROM", f"({sql})", "AS part")) for sql, _ in parts)
    values = tuple(value for _, given in parts for value in given)
    among = (f"id IN ({seen})", values) if parts else ("1 = 0", ())
    return _newest(SELECT_RUN, [among, *wanted], chosen.limit)


def _wanted(chosen: RunFilter) -> list[Condition]:
    given: dict[str, Any] = {
        "status = ?": chosen.status,
        "action = ?": chosen.action,
        "id < ?": chosen.before,
    }
    return [(sql, (str(value),)) for sql, value in given.items() if value is not None]


def _single(scope: Scope) -> Iterable[Condition]:
    """The ways to see runs that are one value of an index, and so in order."""
    if scope.user is not None:
        yield 'lower("user") = ?', (scope.user,)
    if scope.caller is not None:
        yield "caller = ?", (scope.caller,)


def _several(scope: Scope) -> Iterable[Condition]:
    """The ways to see runs that are several values of an index."""
    for column, values in (("team", scope.teams), ("action", scope.actions)):
        if values:
            yield f"{column} IN ({marks(len(values))})", tuple(sorted(values))
    for area in scope.areas:
        after = area[:-1] + chr(ord(area[-1]) + 1)
        yield "action >= ? AND action < ?", (area, after)


def _newest(select: str, conditions: Iterable[Condition], limit: int) -> Condition:
    sql, values = _where(select, conditions)
    return f"{sql} ORDER BY id DESC LIMIT ?", (*values, limit)


def _where(select: str, conditions: Iterable[Condition]) -> Condition:
    pairs = tuple(conditions)
    where = f" WHERE {' AND '.join(sql for sql, _ in pairs)}" if pairs else ""
    return f"{select}{where}", tuple(value for _, given in pairs for value in given)
