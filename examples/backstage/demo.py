"""``make demo``: a namespace, from a Backstage form to the Backstage catalog, on one machine.

Starts an embedded Argo, the bridge and a real Backstage, submits one request through the
scaffolder, shows the task's log as it comes and the entity at the end, and leaves all running.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import stack as parts
import yaml

STATE = parts.ROOT / ".run" / "demo"
PIDS = STATE / "demo.json"
PORTS = {"argo": 2746, "bridge": 8080, "backstage": 7007}
READY_SECONDS = {"the embedded Argo": 20.0, "the bridge": 20.0, "Backstage": 120.0}
VISIBLE_SECONDS = 30.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Narrator:
    """Prints a line per stage with the seconds since the start."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def say(self, text: str) -> None:
        """One stage."""
        print(f"[{time.monotonic() - self._begin:6.1f} s] {text}", flush=True)


def main() -> int:
    """Run the demo, or stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exit", action="store_true", help="stop all; 0 only with an entity")
    parser.add_argument("--stop", action="store_true", help="stop what runs and do nothing else")
    parser.add_argument("--image", type=Path, help="run the bridge in this root file system")
    options = parser.parse_args()
    stop_earlier()
    if options.stop:
        return 0
    narrator = Narrator()
    stack = parts.build(STATE, ports=chosen_ports(narrator), image=options.image)
    shown = False
    try:
        shown = show(stack, narrator)
    except (parts.StackError, OSError, KeyboardInterrupt) as error:
        narrator.say(f"✗ {error or 'interrupted'}")
    if shown and not options.exit:
        narrator.say("all is left running; `make demo-stop` ends it")
    else:
        stack.stop()
        PIDS.unlink(missing_ok=True)
        narrator.say("stopped everything" if shown else f"failed; the logs are in {STATE / 'logs'}")
    return 0 if shown else 1


def chosen_ports(narrator: Narrator) -> dict[str, int]:
    """The usual ports, or others where somebody else listens."""
    chosen = {name: parts.free_port(port) for name, port in PORTS.items()}
    for name, port in chosen.items():
        if port != PORTS[name]:
            narrator.say(f"port {PORTS[name]} is in use, {name} takes {port}")
    return chosen


def show(stack: parts.Stack, narrator: Narrator) -> bool:
    """The whole story; whether the entity is in the catalog at the end."""
    for program in stack.programs:
        narrator.say(f"starting {program.name}")
        program.start()
        remember(stack)
        program.wait_ready(within=READY_SECONDS[program.name])
    portal = parts.Portal.sign_in(stack.backstage_url)
    portal.wait_for_template()
    narrator.say("Backstage is up, its template is in the catalog; signed in as the guest")
    name = time.strftime("demo-%H%M%S")
    form = {
        "namespaceName": name,
        "team": "group:default/team-a",
        "environment": "development",
        "resourceTier": "medium",
        "networkPolicy": "team-shared",
        "features": ["monitoring", "ingress"],
        "description": "Made by make demo",
    }
    task = portal.create(form)
    narrator.say(f"submitted the form for namespace {name}: scaffolder task {task}")
    for event in portal.events(task):
        message = _COLOUR.sub("", event["body"].get("message", ""))
        narrator.say(f"  {message.removeprefix('info: ')}")
    entity = wait_for_entity(portal, name)
    if entity is None:
        narrator.say(f"✗ the catalog has no resource:default/{name}")
        return False
    narrator.say(f"✓ resource:default/{name} is in the Backstage catalog:")
    print(yaml.safe_dump(readable(entity), sort_keys=False, allow_unicode=True), flush=True)
    links(stack, task, name)
    return True


def wait_for_entity(portal: parts.Portal, name: str) -> dict[str, object] | None:
    """The entity, as soon as the catalog shows it."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while (entity := portal.entity("resource", name)) is None and time.monotonic() < deadline:
        time.sleep(0.25)
    return entity


def readable(entity: dict[str, object]) -> dict[str, object]:
    """The parts that a person looks at."""
    return {key: entity[key] for key in ("kind", "metadata", "spec", "relations") if key in entity}


def links(stack: parts.Stack, task: str, name: str) -> None:
    """Where to look."""
    home = stack.backstage_url
    for title, url in {
        "Backstage (sign in as Guest)": home,
        "the form": f"{home}/create/templates/default/namespace-create",
        "the task": f"{home}/create/tasks/{task}",
        "the entity": f"{home}/catalog/default/resource/{name}",
        "the bridge's runs": f"{stack.bridge_url}/v1/runs",
        "the embedded Argo": f"{stack.argo_url}/api/v1/workflows/argo-workflows",
    }.items():
        print(f"  {title:<30} {url}")


def remember(stack: parts.Stack) -> None:
    """Write down what runs, for the next start and for --stop."""
    pids = [program.process.pid for program in stack.programs if program.process is not None]
    PIDS.parent.mkdir(parents=True, exist_ok=True)
    PIDS.write_text(json.dumps(pids))


def stop_earlier() -> None:
    """End what an earlier demo left running, and forget its databases."""
    if PIDS.exists():
        for pid in json.loads(PIDS.read_text()):
            end(pid)
        PIDS.unlink()
    for path in sorted(STATE.rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def end(pid: int) -> None:
    """End a process group of ours; somebody else's process under the same id is left alone."""
    command = Path(f"/proc/{pid}/cmdline")
    ours = (b"bridge", b"image_run.py", b"packages/backend/index.js")
    if not command.exists() or not any(word in command.read_bytes() for word in ours):
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
        for _ in range(100):
            if not command.exists():
                return
            time.sleep(0.1)
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
