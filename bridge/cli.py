"""The command line.

Knows commands and how their output looks to a person. Must not hold logic of its own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from bridge import __version__, localargo
from bridge.adapters import postgres, sqlite, sqlite_backup
from bridge.adapters.definitions import DefinitionFolders
from bridge.bootstrap import open_bridge
from bridge.demo import demo as run_demo
from bridge.doctor import as_json, as_table, examine, failing
from bridge.domain.actions import ActionDefinition
from bridge.domain.audit import Verifier
from bridge.domain.checkups import failed
from bridge.domain.definitions import Catalogue
from bridge.domain.errors import BridgeError
from bridge.exposure import server_of
from bridge.known_secrets import KnownSecrets
from bridge.opening import store_of
from bridge.ports import AuditFilter, RunStore
from bridge.services.redaction import Redaction
from bridge.services.trail import check_lines, check_stored, lines_of, pages
from bridge.settings import Settings
from bridge.telemetry import configure_logging
from bridge.web.openapi import document
from bridge.web.server import run

_PASS_ON = {"ignore_unknown_options": True}


@click.group()
@click.version_option(__version__, prog_name="bridge")
def main() -> None:
    """Backstage scaffolder actions that run Argo Workflows."""


def read_settings(**given: Any) -> Settings:
    """The settings of the environment; a wrong one ends the command with its sentence."""
    try:
        return Settings(**given)
    except BridgeError as error:
        raise click.ClickException(error.detail) from error
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@main.command()
def serve() -> None:
    """Run the bridge; everything is configured by BRIDGE_* environment variables."""
    settings = read_settings()
    hiding = Redaction(KnownSecrets(settings))
    configure_logging(level=settings.log_level, style=settings.log_format, redactor=hiding.redactor)
    try:
        run(_serve(settings))
    except BridgeError as error:
        raise click.ClickException(error.detail) from error


async def _serve(settings: Settings) -> None:
    async with open_bridge(settings) as bridge:
        await server_of(settings, bridge.app(), drain=bridge.drain).serve()


@main.command()
@click.option("--check", is_flag=True, help="Change nothing; list what is missing and exit 1.")
def migrate(*, check: bool) -> None:
    """Bring the run store of the settings up to date; only the settings of the store are needed."""
    # Whoever migrates a store need not hold the tokens that serving asks for.
    settings = read_settings(demo=True, host="127.0.0.1")
    try:
        address = settings.postgres()
        if address is not None:
            changed = (postgres.pending_migrations if check else postgres.migrate)(address)
        else:
            changed = (sqlite.pending_migrations if check else sqlite.migrate)(settings.database)
    except BridgeError as error:
        raise click.ClickException(error.detail) from error
    for name in changed:
        click.echo(f"✗ {name} is missing" if check else f"✓ {name}")
    if not changed:
        click.echo("The run store is up to date.")
    sys.exit(1 if check and changed else 0)


@main.command()
@click.option("--json", "shows_json", is_flag=True, help="Print JSON in place of a table.")
def doctor(*, shows_json: bool) -> None:
    """Try each thing that the bridge of the settings stands on; exit 1 if anything fails.

    Says how to mend what fails. Nothing is changed, and no secret is shown. Run it where the bridge
    runs, with its environment: its network and its files are what counts.
    """
    try:
        findings = asyncio.run(examine(read_settings()))
    except click.ClickException as error:
        mend = "bridge --help and the page on settings name all of them."
        findings = [failed("settings", error.message, mend=mend)]
    click.echo(as_json(findings) if shows_json else as_table(findings))
    sys.exit(1 if failing(findings) else 0)


_FILE = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
_PIPE = Path("-")


@main.command()
@_FILE
def backup(file: Path) -> None:
    """Copy the SQLite run store of the settings to FILE, or for - to the standard output.

    The bridge may be running. FILE is complete and checked, or not there. PostgreSQL has tools of
    its own: pg_dump.
    """
    database = _sqlite_file()
    with _refused():
        if file != _PIPE:
            size = sqlite_backup.back_up(database, file)
            click.echo(f"✓ {file} ({size // 1024} KiB)")
            return
        with sqlite_backup.beside(database) as copy:
            sqlite_backup.back_up(database, copy)
            with copy.open("rb") as stream:
                shutil.copyfileobj(stream, sys.stdout.buffer)


@main.command()
@_FILE
def restore(file: Path) -> None:
    """Put FILE, a backup, or for - the standard input in the place of the SQLite run store.

    The bridge must not be running. What was written since the backup is gone; the page on operating
    the bridge says what that means for runs. PostgreSQL has tools of its own: pg_restore.
    """
    database = _sqlite_file()
    with _refused():
        if file != _PIPE:
            sqlite_backup.restore(database, file)
        else:
            with sqlite_backup.beside(database) as copy:
                with copy.open("wb") as stream:
                    shutil.copyfileobj(sys.stdin.buffer, stream)
                sqlite_backup.restore(database, copy)
    click.echo(f"✓ restored from {file}")


def _sqlite_file() -> Path:
    settings = read_settings(demo=True, host="127.0.0.1")
    with _refused():
        if settings.postgres() is not None:
            raise click.ClickException(
                "The run store is PostgreSQL: use pg_dump --format=custom and pg_restore."
            )
    return settings.database


@contextmanager
def _refused() -> Iterator[None]:
    """End the command with the sentence of an error of ours."""
    try:
        yield
    except BridgeError as error:
        raise click.ClickException(error.detail) from error


@main.group()
def audit() -> None:
    """Take the audit trail out of the run store, and check its chain."""


@audit.command("export")
def export_trail() -> None:
    """Print every record of the run store as JSON lines, newest first; the bridge may be running.

    Only the settings of the store are needed.
    """
    asyncio.run(_with_store(_export))


@audit.command("verify")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--head", metavar="HASH", help="A hash of the trail, noted elsewhere.")
def verify_trail(file: BinaryIO | None, head: str | None) -> None:
    """Check the chain of FILE, a whole export, or else of the run store; exit 1 if it is broken.

    Names the oldest record that is not as it was; all before it are. Without --head this finds what
    was changed by somebody who did not compute the hashes anew.
    """
    verifier = Verifier(head=head)
    try:
        if file is not None:
            check_lines(file, verifier)
        else:
            asyncio.run(_with_store(lambda store: check_stored(store, verifier)))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    problem = verifier.problem()
    if problem is not None:
        raise click.ClickException(problem)
    older = f", and {verifier.older} of before there was a chain" if verifier.older else ""
    click.echo(f"✓ {verifier.linked} records{older}; head {verifier.newest or 'none'}")


async def _export(store: RunStore) -> None:
    async for page in pages(store, AuditFilter()):
        click.echo(lines_of(page), nl=False)


async def _with_store(look: Callable[[RunStore], Awaitable[None]]) -> None:
    """Look into the store of the settings, beside whoever writes it."""
    try:
        async with store_of(read_settings(demo=True, host="127.0.0.1")).looking() as store:
            await look(store)
    except BridgeError as error:
        raise click.ClickException(error.detail) from error


@main.command("local-argo", add_help_option=False, context_settings=_PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def local_argo(arguments: tuple[str, ...]) -> None:
    """Run the embedded Argo server; --help lists its options."""
    sys.exit(localargo.main(arguments))


@main.command()
@click.option("--name", default="team-a-dev", show_default=True, help="Name of the namespace.")
@click.option("--team", default="team-a", show_default=True, help="Owning team.")
@click.option("--feature", "features", multiple=True, help="A feature; may be repeated.")
@click.option(
    "--pace", default=0.6, show_default=True, help="Seconds that each step takes at least."
)
@click.option(
    "--actions",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("backstage-actions/actions"),
    show_default=True,
    help="Folder of action definitions.",
)
def demo(name: str, team: str, features: tuple[str, ...], pace: float, folder: Path) -> None:
    """Show one namespace:create run in the terminal, with an embedded Argo."""
    given = {"namespaceName": name, "team": team, "features": list(features)}
    succeeded = asyncio.run(run_demo(given, actions=folder, pace=pace, echo=click.echo))
    sys.exit(0 if succeeded else 1)


@main.group()
def actions() -> None:
    """Look at action definitions."""


_FOLDER = click.argument(
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("backstage-actions/actions"),
)


@actions.command("list")
@_FOLDER
def list_actions(folder: Path) -> None:
    """List the actions of FOLDER."""
    catalogue = DefinitionFolders((folder,)).load(last_good=Catalogue(files={}))
    for action in catalogue.actions.values():
        click.echo(f"{action.id}\t{action.spec.workflow.template}\t{action.metadata.title}")


@actions.command()
@_FOLDER
def validate(folder: Path) -> None:
    """Check every action of FOLDER; exit 1 and name file and line of what is wrong.

    Reads each action.yaml, and the WorkflowTemplates beside it for parameters that would be run
    or read as YAML; what to write instead is named too.
    """
    catalogue = DefinitionFolders((folder,)).load(last_good=Catalogue(files={}))
    for file in catalogue.files:
        click.echo(f"✓ {file}")
    for problem in catalogue.problems:
        click.echo(f"✗ {problem.file}:{problem.line}: {problem.message}", err=True)
    sys.exit(1 if catalogue.problems else 0)


@actions.command()
def schema() -> None:
    """Print the JSON Schema of action.yaml, for editors."""
    click.echo(json.dumps(ActionDefinition.model_json_schema(by_alias=True), indent=2))


@main.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    click.echo(json.dumps(document(server="/"), indent=2))
