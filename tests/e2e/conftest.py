"""A real stack for the whole session: embedded Argo, bridge and Backstage, as processes.

`make setup` and the example's installation come first (`make test-e2e` does both).
"""

import importlib.util
import re
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "backstage"
READY_SECONDS = 120.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def load_stack():
    """The example's own `stack.py`: what the demo starts is what is tested."""
    spec = importlib.util.spec_from_file_location("example_stack", EXAMPLE / "stack.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["example_stack"] = module
    spec.loader.exec_module(module)
    return module


parts = load_stack()


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The running stack; logs stay in the session's temporary folder."""
    state = tmp_path_factory.mktemp("stack")
    ports = {name: parts.free_port() for name in ("argo", "bridge", "backstage")}
    built = parts.build(
        state,
        ports=ports,
        node_seconds=1.2,
        bridge_environment={"BRIDGE_ARGO_UI_URL": "https://argo.example.com"},
    )
    try:
        for program in built.programs:
            program.start()
            program.wait_ready(within=READY_SECONDS)
        yield built
    finally:
        built.stop()


@pytest.fixture(scope="session")
def portal(stack):
    """Backstage, signed in as the guest, with the template read."""
    signed_in = parts.Portal.sign_in(stack.backstage_url)
    signed_in.wait_for_template()
    return signed_in


@pytest.fixture
def name(request):
    """A namespace name of the test's own."""
    stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[5:30].strip("-")
    return f"{stem}-{int(time.time() * 10) % 1_000_000}"


def form(namespace, **more):
    """The values that the form sends."""
    return {
        "namespaceName": namespace,
        "team": "group:default/team-a",
        "environment": "development",
        "resourceTier": "small",
        "networkPolicy": "isolated",
        "features": [],
        "description": "made by a test",
        **more,
    }


class TaskLog:
    """A task's events as they arrive, with the time of each arrival."""

    def __init__(self, portal, task):
        self._events = portal.events(task)
        self.lines = []
        self.times = []
        self.completion = None

    def __iter__(self):
        for event in self._events:
            text = _COLOUR.sub("", event["body"].get("message", ""))
            self.times.append(time.monotonic())
            self.lines.append(text)
            if event["type"] == "completion":
                self.completion = event["body"]
            yield text

    def until(self, wanted):
        """Read until a line holds *wanted*."""
        for line in self:
            if wanted in line:
                return line
        raise AssertionError(f"no line with {wanted!r} in:\n" + "\n".join(self.lines))

    def to_the_end(self):
        """Read all, and give the completion."""
        for _ in self:
            pass
        return self.completion

    def time_of(self, wanted):
        """When the first line with *wanted* arrived."""
        return next(t for t, line in zip(self.times, self.lines, strict=True) if wanted in line)


def run_of(stack, namespace):
    """The newest run for a namespace, as the bridge shows it."""
    runs = parts.call("GET", f"{stack.bridge_url}/v1/runs?limit=200")["runs"]
    return next(run for run in runs if run["input"]["namespaceName"] == namespace)


def workflows_for(stack, namespace):
    """Names of the workflows in Argo for a namespace."""
    query = f"listOptions.labelSelector=platform.io/namespace%3D{namespace}"
    url = f"{stack.argo_url}/api/v1/workflows/argo-workflows?{query}"
    return [item["metadata"]["name"] for item in parts.call("GET", url)["items"] or []]
