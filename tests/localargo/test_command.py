"""The embedded Argo as a command, and served inside another program."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bridge.localargo import LocalArgoSettings, main, serve
from bridge.localargo.command import _parser, _settings

TEMPLATES = Path(__file__).parent / "templates"


def free_port():
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def command(tmp_path):
    """The command in a process of its own, ready; its address."""
    secret = tmp_path / "token"
    secret.write_text("from-a-file\n")
    arguments = [
        *("--port", str(free_port()), "--templates", str(TEMPLATES)),
        *("--secret", "a/b=c", "--secret-file", f"platform-api/token={secret}"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge.localargo", *arguments], stderr=subprocess.PIPE, text=True
    )
    ready = process.stderr.readline()
    yield process, ready
    process.kill()
    process.wait()
    process.stderr.close()


def test_the_command_serves_and_cuts_streams_on_sigterm(command):
    """One ready line; SIGTERM ends it at once, open streams are cut without an end."""
    process, ready = command
    assert ready.startswith("embedded Argo ready on http://127.0.0.1:")
    assert "namespace argo-workflows" in ready
    assert "namespace-provisioning" in ready
    url = ready.split()[4].rstrip(",")
    spec = {"workflowTemplateRef": {"name": "suspend-only"}}
    body = {"workflow": {"metadata": {"name": "w"}, "spec": spec}}
    with httpx.Client(base_url=url, timeout=20) as http:
        assert http.post("/api/v1/workflows/argo-workflows", json=body).status_code == 200
        with http.stream("GET", "/api/v1/workflow-events/argo-workflows") as answer:
            chunks = answer.iter_raw()
            assert json.loads(next(chunks))["result"]["type"] == "ADDED"
            process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                list(chunks)
    assert process.wait(timeout=20) in {0, -signal.SIGTERM}


def test_options_become_settings(tmp_path):
    """Secrets from values and files, times and the token reach the settings."""
    file = tmp_path / "f"
    file.write_text("inside\n")
    parsed = _parser().parse_args(
        [
            *("--secret", "s/a=1=2", "--secret", "s/b=3", "--secret-file", f"t/c={file}"),
            *("--requeue-time", "10s", "--node-time", "1", "--token", "x"),
            *("--kubeconfig", "/k", "--namespace", "ns", "--templates", "/t"),
        ]
    )
    settings = _settings(parsed)
    assert settings == LocalArgoSettings(
        namespace="ns",
        templates=(Path("/t"),),
        secrets={"s": {"a": "1=2", "b": "3"}, "t": {"c": "inside"}},
        kubeconfig=Path("/k"),
        requeue_seconds=10.0,
        node_seconds=1.0,
        token="x",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--secret", "no-value"],
        ["--secret-file", "a/b=/no/such/file"],
        ["--requeue-time", "soon"],
    ],
)
def test_options_that_cannot_be_read(arguments, capsys):
    """A bad option ends the command with its usage."""
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_told(tmp_path, capsys):
    """Templates that cannot be read end the command with a sentence."""
    assert main(["--templates", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("a: [")
    assert main(["--templates", str(tmp_path)]) == 1
    assert "yaml" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(capsys):
    """A port in use ends the command with a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert main(["--port", str(listener.getsockname()[1])]) == 1
    assert "in use" in capsys.readouterr().err


async def test_it_serves_inside_another_program():
    """`serve` takes a free port and leaves the program's signals alone."""
    before = signal.getsignal(signal.SIGTERM)
    async with serve(LocalArgoSettings(namespace="mine")) as url:
        assert signal.getsignal(signal.SIGTERM) is before
        async with httpx.AsyncClient(base_url=url) as http:
            info = (await http.get("/api/v1/info")).json()
    assert info["managedNamespace"] == "mine"
    with pytest.raises(httpx.ConnectError):
        await asyncio.to_thread(httpx.get, url)


async def test_a_cluster_can_be_named():
    """With a kubeconfig, resource templates go to kubectl."""
    async with serve(LocalArgoSettings(kubeconfig=Path("/no/such/config"))) as url:
        manifest = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}})
        templates = [{"name": "main", "resource": {"action": "get", "manifest": manifest}}]
        spec = {"entrypoint": "main", "templates": templates}
        body = {"workflow": {"metadata": {"name": "k"}, "spec": spec}}
        path = "/api/v1/workflows/argo-workflows"
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            assert (await http.post(path, json=body)).status_code == 200
            query = "logOptions.container=main&logOptions.follow=true"
            text = (await http.get(f"{path}/k/log?{query}")).text
            status = (await http.get(f"{path}/k")).json()["status"]
    assert status["phase"] == "Failed"
    assert "Error: " in text
