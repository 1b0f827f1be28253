"""The three programs of the example, and what a person does with Backstage, by HTTP.

Knows how to start an embedded Argo, the bridge and Backstage on loopback, each with a log file, and
how to talk to Backstage as its guest. Standard library only. Used by the demo and by the tests.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ACTIONS = ROOT / "backstage-actions" / "actions"
RUN_IMAGE = ROOT / "deploy" / "image" / "image_run.py"
STOP_SECONDS = 10.0
CALL_SECONDS = 15.0
SILENCE_SECONDS = 120.0


class StackError(Exception):
    """A program did not come up, or Backstage said no; the text says what to do."""


def free_port(preferred: int = 0) -> int:
    """*preferred* if nobody listens there, else any free port."""
    for port in (preferred, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise StackError("no free port on loopback")


@dataclass
class Program:
    """One program: its command, its log, and the address that answers once it is ready."""

    name: str
    command: list[str]
    ready_url: str
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path = ROOT
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in the background, in a process group of its own."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, *, within: float) -> None:
        """Wait until it answers.

        Raises:
            StackError: It ended, or does not answer in time; names the log.
        """
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise StackError(
                    f"{self.name} ended with {self.process.returncode}; see {self.log}:\n"
                    + self.tail()
                )
            if answers(self.ready_url):
                return
            time.sleep(0.1)
        raise StackError(f"{self.name} is not ready after {within:.0f} s; see {self.log}")

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and insist after a while."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        os.killpg(self.process.pid, number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)


@dataclass(frozen=True)
class Stack:
    """The three programs and where they are."""

    argo: Program
    bridge: Program
    backstage: Program
    argo_url: str
    bridge_url: str
    backstage_url: str

    @property
    def programs(self) -> tuple[Program, ...]:
        """In the order in which they start."""
        return (self.argo, self.bridge, self.backstage)

    def stop(self) -> None:
        """Stop all, the last one first."""
        for program in reversed(self.programs):
            program.stop()


def build(
    state: Path,
    *,
    ports: Mapping[str, int],
    node_seconds: float = 0.5,
    argo_options: tuple[str, ...] = (),
    bridge_environment: Mapping[str, str] | None = None,
    image: Path | None = None,
) -> Stack:
    """The stack with its files below *state*; nothing is started yet.

    Args:
        state: Folder for databases and logs.
        ports: ``argo``, ``bridge`` and ``backstage``.
        node_seconds: How long each pod takes at least, so that the eye can follow.
        argo_options: More options of the embedded Argo.
        bridge_environment: More settings of the bridge.
        image: Root file system of the bridge's image: run the bridge in it, not the checkout's.
    """
    argo_url, bridge_url = (f"http://127.0.0.1:{ports[name]}" for name in ("argo", "bridge"))
    backstage_url = f"http://localhost:{ports['backstage']}"
    platform_token, catalog_token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    argo = [sys.executable, "-m", "bridge.localargo", "--port", str(ports["argo"])]
    argo += ["--templates", str(ACTIONS), "--secret", f"platform-api/token={platform_token}"]
    argo += ["--node-time", f"{node_seconds}s", *argo_options]
    settings = {
        "BRIDGE_DEMO": "true",
        "BRIDGE_HOST": "127.0.0.1",
        "BRIDGE_PORT": str(ports["bridge"]),
        "BRIDGE_ACTIONS": str(ACTIONS),
        "BRIDGE_DATABASE": str(state / "bridge.db"),
        "BRIDGE_ARGO_URL": argo_url,
        "BRIDGE_BACKSTAGE_URL": f"http://127.0.0.1:{ports['backstage']}",
        "BRIDGE_BACKSTAGE_ISSUER": f"{backstage_url}/api/auth",
        "BRIDGE_BACKSTAGE_TOKEN": catalog_token,
        "BRIDGE_PLATFORM_API_TOKEN": platform_token,
        **(bridge_environment or {}),
    }
    bridge = [sys.executable, "-m", "bridge"]
    if image is not None:
        bridge = [sys.executable, str(RUN_IMAGE), "--data", str(state / "data"), str(image)]
        for own in ("BRIDGE_ACTIONS", "BRIDGE_DATABASE"):  # the image has them
            del settings[own]
    portal = {
        "BACKSTAGE_URL": backstage_url,
        "BACKSTAGE_PORT": str(ports["backstage"]),
        "BACKSTAGE_DB_DIR": str(state / "backstage-db"),
        "BRIDGE_URL": bridge_url,
        "BRIDGE_HOST": f"127.0.0.1:{ports['bridge']}",
        "BRIDGE_CATALOG_TOKEN": catalog_token,
        "BRIDGE_MANIFEST": str(state / "actions.json"),
        "NODE_ENV": "development",
    }
    node = [_node(), "packages/backend/index.js", "--config", str(HERE / "app-config.yaml")]
    logs = state / "logs"
    (state / "backstage-db").mkdir(parents=True, exist_ok=True)
    return Stack(
        argo=Program("the embedded Argo", argo, f"{argo_url}/api/v1/info", logs / "argo.log"),
        bridge=Program(
            "the bridge",
            [*bridge, "serve"],
            f"{bridge_url}/readyz",
            logs / "bridge.log",
            settings,
        ),
        backstage=Program(
            "Backstage",
            node,
            f"http://127.0.0.1:{ports['backstage']}/.backstage/health/v1/readiness",
            logs / "backstage.log",
            portal,
            HERE,
        ),
        argo_url=argo_url,
        bridge_url=bridge_url,
        backstage_url=backstage_url,
    )


def _node() -> str:
    beside = Path(sys.executable).with_name("node")
    return str(beside) if beside.exists() else "node"


# --- HTTP ----------------------------------------------------------------------------------------


def answers(url: str) -> bool:
    """Whether *url* answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(200 <= response.status < 300)
    except (OSError, http.client.HTTPException):
        return False


def call(
    method: str, url: str, body: Any = None, *, headers: Mapping[str, str] | None = None
) -> Any:
    """A JSON call; None for an empty answer.

    Raises:
        StackError: Any status but a 2xx, with the start of the body.
    """
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method)
    request.add_header("Content-Type", "application/json")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        text = error.read(2000).decode(errors="replace")
        raise StackError(f"{method} {url} answered {error.code}: {text}") from error
    except OSError as error:
        raise StackError(f"{method} {url}: {error}") from error
    return json.loads(text) if text else None


@dataclass(frozen=True)
class Portal:
    """Backstage as its guest sees it."""

    url: str
    token: str

    @classmethod
    def sign_in(cls, url: str) -> Portal:
        """Sign in as the guest."""
        session = call(
            "GET", f"{url}/api/auth/guest/refresh", headers={"X-Requested-With": "XMLHttpRequest"}
        )
        return cls(url, session["backstageIdentity"]["token"])

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """A call with the guest's token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return call(method, f"{self.url}/api{path}", body, headers=headers)

    def create(self, values: Mapping[str, Any], *, template: str = "namespace-create") -> str:
        """Submit a template's form; the task's id."""
        body = {"templateRef": f"template:default/{template}", "values": dict(values)}
        return str(self.api("POST", "/scaffolder/v2/tasks", body)["id"])

    def events(self, task: str) -> Iterator[dict[str, Any]]:
        """The task's events as they come, until its completion."""
        request = urllib.request.Request(f"{self.url}/api/scaffolder/v2/tasks/{task}/eventstream")
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=SILENCE_SECONDS) as stream:
            for line in stream:
                if line.startswith(b"data:"):
                    event: dict[str, Any] = json.loads(line[5:])
                    yield event
                    if event["type"] == "completion":
                        return

    def entity(self, kind: str, name: str) -> dict[str, Any] | None:
        """An entity of the catalog, or None."""
        try:
            found: dict[str, Any] = self.api(
                "GET", f"/catalog/entities/by-name/{kind}/default/{name}"
            )
        except StackError as error:
            if "answered 404" in str(error):
                return None
            raise
        return found

    def wait_for_template(self, name: str = "namespace-create", *, within: float = 60) -> None:
        """Wait until the catalog has read the template's file."""
        deadline = time.monotonic() + within
        while self.entity("template", name) is None:
            if time.monotonic() > deadline:
                raise StackError(f"the template {name} is not in the catalog after {within} s")
            time.sleep(0.25)
