"""The command line of the embedded Argo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bridge.localargo.durations import parse_duration
from bridge.localargo.manifests import ManifestError
from bridge.localargo.serving import run
from bridge.localargo.settings import LocalArgoSettings

_PORT = 2746  # Argo Server's own


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit code of the command."""
    parsed = _parser().parse_args(argv)
    try:
        return 0 if run(_settings(parsed), host=parsed.host, port=parsed.port) else 1
    except (OSError, ManifestError) as error:
        print(f"embedded Argo: {error}", file=sys.stderr)  # noqa: T201 - a command speaks here
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bridge local-argo", description="An embedded Argo Workflows for local work and tests."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=_PORT)
    parser.add_argument("--namespace", default="argo-workflows")
    parser.add_argument(
        "--templates",
        type=Path,
        action="append",
        default=[],
        help="a WorkflowTemplate file, or a folder that is searched; may be repeated",
    )
    parser.add_argument(
        "--secret", type=_secret, action="append", default=[], metavar="NAME/KEY=VALUE"
    )
    parser.add_argument(
        "--secret-file", type=_secret_file, action="append", default=[], metavar="NAME/KEY=PATH"
    )
    parser.add_argument("--kubeconfig", type=Path, help="apply resource templates to this cluster")
    parser.add_argument(
        "--requeue-time",
        type=_duration,
        default=0.0,
        help="how long the controller waits between two looks, such as 10s",
    )
    parser.add_argument(
        "--node-time", type=_duration, default=0.0, help="shortest time that a pod takes"
    )
    parser.add_argument("--token", help="the Bearer token that every call must carry")
    parser.add_argument(
        "--faults",
        action="store_true",
        help="serve /faults, which makes it misbehave as real ones do; for tests of clients",
    )
    return parser


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _secret(text: str) -> tuple[str, str, str]:
    place, found, value = text.partition("=")
    name, slash, key = place.partition("/")
    if not (found and slash and name and key):
        raise argparse.ArgumentTypeError(f"expected NAME/KEY=VALUE, not {place}")
    return name, key, value


def _secret_file(text: str) -> tuple[str, str, str]:
    name, key, path = _secret(text)
    try:
        return name, key, Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _settings(parsed: argparse.Namespace) -> LocalArgoSettings:
    secrets: dict[str, dict[str, str]] = {}
    for name, key, value in (*parsed.secret, *parsed.secret_file):
        secrets.setdefault(name, {})[key] = value
    return LocalArgoSettings(
        namespace=parsed.namespace,
        templates=tuple(parsed.templates),
        secrets=secrets,
        kubeconfig=parsed.kubeconfig,
        requeue_seconds=parsed.requeue_time,
        node_seconds=parsed.node_time,
        token=parsed.token,
        faults=parsed.faults,
    )
