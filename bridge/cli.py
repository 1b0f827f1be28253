"""The command line.

Knows commands and how their output looks to a person. Must not hold logic of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click

from bridge import __version__, localargo
from bridge.adapters import postgres, sqlite
from bridge.adapters.definitions import DefinitionFolders
from bridge.bootstrap import open_bridge
from bridge.demo import demo as run_demo
from bridge.domain.actions import ActionDefinition
from bridge.domain.definitions import Catalogue
from bridge.domain.errors import BridgeError
from bridge.settings import Settings
from bridge.telemetry import configure_logging
from bridge.web.openapi import document
from bridge.web.server import run, server_for

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
    configure_logging(level=settings.log_level, style=settings.log_format)
    try:
        run(_serve(settings))
    except BridgeError as error:
        raise click.ClickException(error.detail) from error


async def _serve(settings: Settings) -> None:
    async with open_bridge(settings) as bridge:
        server = server_for(
            bridge.app(),
            host=settings.host,
            port=settings.port,
            drain=bridge.drain,
            delay=settings.drain_seconds,
        )
        await server.serve()


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
    """Check every definition of FOLDER; exit 1 and name file and line if any is wrong."""
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
