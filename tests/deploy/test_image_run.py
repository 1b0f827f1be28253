"""How the image is run: with what rights and settings, and how its health is seen."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.deploy.image import IMAGE, healthcheck, recipe, run
from tests.web.certificates import write_certificate

DOCKERFILE = recipe.Recipe.read()
RUN_SECONDS = 60

PROBE = """#!/bin/sh
while read -r key value; do
  case $key in Uid:|Gid:|Groups:|CapEff:|CapBnd:|NoNewPrivs:) echo "$key $value";; esac
done < /proc/self/status
for place in /own /app/own /tmp/own /var/lib/bridge/own; do
  if (: > $place) 2> /dev/null; then echo "can write $place"; fi
done
echo "pid $$ in $PWD with $* on $BRIDGE_HOST:$BRIDGE_PORT, home $HOME, $SECRET_OF_THE_HOST"
"""
"""In place of the bridge: says what it may do. Written for a shell without any other program."""
SEEN = re.split(" ", "pid 1 in /app with migrate now on 0.0.0.0:9, home /var/lib/bridge,")


@pytest.fixture
def tiny_root(tmp_path: Path) -> Path:
    """A root file system with a shell, and the probe where the image has the bridge."""
    root = tmp_path / "root"
    for folder in ("app", "proc", "dev", "tmp", "bin", "usr/local/bin", "var/lib/bridge"):
        (root / folder).mkdir(parents=True)
    shell = Path("/bin/sh").resolve()
    listed = subprocess.run(
        ["ldd", str(shell)], capture_output=True, text=True, check=True, timeout=10
    )
    for library in re.findall(r"(/\S+) \(0x", listed.stdout):
        (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.lstrip("/"))
    shutil.copy(shell, root / "bin/sh")
    probe = root / "usr/local/bin/bridge"
    probe.write_text(PROBE)
    probe.chmod(0o755)
    (root / "app").chmod(0o777)  # only the read-only mount is in the way there
    return root


def test_it_runs_with_nothing_but_its_data(tiny_root: Path, tmp_path: Path):
    """As in a restricted pod: uid 1001, no capability, a read-only root, the image's settings."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive", "--preserve-env"]
    command = [sys.executable, str(IMAGE / "image_run.py"), "--data", str(tmp_path / "data")]
    done = subprocess.run(
        [*sudo, "setpriv", "--groups=4,5", *command, str(tiny_root), "migrate", "now"],
        env={"PATH": os.environ["PATH"], "BRIDGE_PORT": "9", "SECRET_OF_THE_HOST": "shown"},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS,
    )
    assert done.stderr == ""
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["Uid:", *["1001"] * 4],
        ["Gid:", *["1001"] * 4],
        ["Groups:"],
        ["CapEff:", "0" * 16],
        ["CapBnd:", "0" * 16],
        ["NoNewPrivs:", "1"],
        *(["can", "write", f"/{place}/own"] for place in ("tmp", "var/lib/bridge")),
        SEEN,
    ]
    assert (tmp_path / "data/own").stat().st_uid == 1001
    assert list((tiny_root / "tmp").iterdir()) == []


def test_settings_of_the_caller_are_above_those_of_the_image():
    """As with Docker's `--env`; the rest of the host's environment stays outside."""
    given = {"BRIDGE_PORT": "1", "HOME": "/root", "LD_PRELOAD": "x"}
    made = run.environment(DOCKERFILE, given.items())
    assert made["BRIDGE_PORT"] == "1"
    assert made["HOME"] == "/var/lib/bridge"
    assert "LD_PRELOAD" not in made


# --- the health check ----------------------------------------------------------------------------


def test_the_health_check_is_a_program_of_the_image():
    """Docker needs no curl in the image to see whether the bridge lives."""
    words = DOCKERFILE.image.last("HEALTHCHECK").rest
    assert words.endswith('CMD ["/usr/bin/python3.11", "-I", "/app/healthcheck.py"]')
    assert (
        'cp "$source/LICENSE" "$here/healthcheck.py" "$root/app/"'
        in (IMAGE / "bridge.sh").read_text()
    )


@contextmanager
def answering(status: int, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on loopback that answers everything with *status*; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_tells_a_living_bridge(
    monkeypatch: pytest.MonkeyPatch, status: int, code: int
):
    """A container is healthy as long as the bridge answers, whatever proxy the host has."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("BRIDGE_TLS_CERT_FILE", raising=False)
    with answering(status) as port:
        monkeypatch.setenv("BRIDGE_PORT", str(port))
        assert healthcheck.main() == code
    assert healthcheck.main() == 1


def test_the_health_check_speaks_tls_to_a_bridge_that_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """A bridge that serves HTTPS is healthy too, though its certificate names no loopback."""
    chain, private = write_certificate(tmp_path, name="bridge.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    monkeypatch.setenv("BRIDGE_TLS_CERT_FILE", str(chain))
    with answering(200, context) as port:
        monkeypatch.setenv("BRIDGE_PORT", str(port))
        assert healthcheck.main() == 0
