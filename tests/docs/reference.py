"""The generated parts of docs/reference, made from the code.

``python -m tests.docs.reference`` writes them again; the tests compare.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import AliasChoices, SecretStr

from bridge.cli import main as bridge
from bridge.domain.errors import error_classes
from bridge.domain.policy import RULES, Clause, Permission, Relation
from bridge.localargo import command
from bridge.metrics import Metrics
from bridge.settings import Settings

ARGUMENTS: Mapping[str, str] = {
    "folder": "folder of action definitions",
    "file": "an export of the audit trail; none: the run store",
}
"""What the arguments of commands are, which click does not know."""
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    cells = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


# --- settings -----------------------------------------------------------------------------------


def environment_names(name: str) -> tuple[str, ...]:
    """The variables that a setting is read from, the first one first."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"BRIDGE_{name.upper()}",)


def settings() -> str:
    """All settings."""
    rows = []
    for name, field in Settings.model_fields.items():
        variables = ", ".join(f"`{variable}`" for variable in environment_names(name))
        secret = " *(secret)*" if SecretStr.__name__ in str(field.annotation) else ""
        rows.append((variables + secret, shown(field.default), str(field.description)))
    return table(("variable", "default", "what"), rows)


def shown(value: Any) -> str:
    """A default for people."""
    match value:
        case None | "" | ():
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return f"`{','.join(value)}`"
        case _:
            return f"`{value}`"


# --- errors -------------------------------------------------------------------------------------


def errors() -> str:
    """All classes of the error tree."""
    rows = [
        (f"`{cls.code}`", str(cls.status), cls.title, " ".join((cls.__doc__ or "").split()))
        for cls in error_classes()
    ]
    return table(("code", "status", "title", "when"), rows)


# --- commands -----------------------------------------------------------------------------------


def commands() -> str:
    """All commands with their arguments and options."""
    return "\n\n".join(
        f"## `{' '.join(path)}`\n\n{' '.join((found.help or '').split())}{parameters(found)}"
        for path, found in every_command(bridge, ("bridge",))
    )


def every_command(
    found: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it."""
    yield path, found
    if isinstance(found, click.Group):
        for name in sorted(found.commands):
            yield from every_command(found.commands[name], (*path, name))


def parameters(found: click.Command) -> str:
    """The table of a command's arguments and options; empty if there are none."""
    if found.name == "local-argo":
        rows = list(embedded_argo())
    else:
        rows = [row_of(parameter) for parameter in found.params]
    return f"\n\n{table(('option', 'default', 'what'), rows)}" if rows else ""


def row_of(parameter: click.Parameter) -> tuple[str, str, str]:
    """One argument or option of click."""
    default = parameter.default
    given = shown(default) if isinstance(default, str | float | int | Path) else ""
    if isinstance(parameter, click.Option):
        flag = isinstance(default, bool) and not parameter.multiple
        repeated = " …" if parameter.multiple else ""
        names = ", ".join(parameter.opts)
        return f"`{names}`{repeated}", "" if flag else given, str(parameter.help)
    return f"`{parameter.human_readable_name.upper()}`", given, ARGUMENTS[str(parameter.name)]


def embedded_argo() -> Iterator[tuple[str, str, str]]:
    """The options of the embedded Argo, which reads its own."""
    for action in command._parser()._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = f" {action.metavar}" if action.metavar else ""
        default = "" if action.default == [] else shown(action.default)
        yield f"`{', '.join(action.option_strings)}{value}`", default, action.help or ""


# --- permissions --------------------------------------------------------------------------------

ASKED: Mapping[Permission, str] = {
    Permission.RUN: "ask for a run: `POST /v1/runs`, `POST /api/platform/namespaces/request`",
    Permission.SEE: "see a run: `GET /v1/runs`, `/v1/runs/{id}`, its events, its readers' cursors",
    Permission.CANCEL: "`POST /v1/runs/{id}/cancel`",
    Permission.TERMINATE: "`POST /v1/runs/{id}/terminate`",
    Permission.RETRY: "`POST /v1/runs/{id}/retry`; to ask for such a run must be allowed too",
    Permission.DECIDE: "`POST /v1/runs/{id}/approve`, `/reject`",
    Permission.AUDIT: "`GET /v1/audit`, of their tenant; `platform:admin` only: it is of no action",
    Permission.REPORT: "`POST /api/v1/namespaces`",
}


def permissions() -> str:
    """The table of who may do what."""
    rows = [
        (what, "<br>".join(either(clause) for clause in RULES[permission]))
        for permission, what in ASKED.items()
    ]
    return table(("to", "one must be"), rows)


def either(clause: Clause) -> str:
    """Whom a clause lets through."""
    return "; or ".join(relation for relation in Relation if relation in clause.anyone)


# --- metrics ------------------------------------------------------------------------------------


def metrics() -> str:
    """All metrics: the bridge's own, then those of the process."""
    every = Metrics()
    own, others = [], []
    for name, kind, labels, what in every.described():
        row = (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), what)
        (own if name in every.labels else others).append(row)
    rows = [*own, *sorted(others)]
    return table(("metric", "type", "labels", "what"), rows)


# --- files --------------------------------------------------------------------------------------

GENERATED: Mapping[str, Callable[[], str]] = {
    "settings.md": settings,
    "errors.md": errors,
    "cli.md": commands,
    "permissions.md": permissions,
    "metrics.md": metrics,
}


def split(text: str) -> tuple[str, str, str]:
    """What stands before, between and after the marks."""
    before, _, rest = text.partition(BEGIN)
    inside, _, after = rest.partition(END)
    return before, inside.strip("\n"), after


def main() -> None:
    """Write the generated part of every file again."""
    for name, render in GENERATED.items():
        path = REFERENCE / name
        before, _, after = split(path.read_text())
        path.write_text(f"{before}{BEGIN}\n\n{render()}\n\n{END}{after}")


if __name__ == "__main__":
    main()
