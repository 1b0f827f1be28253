"""A real Kubernetes control plane without nodes: etcd, kube-apiserver, kube-controller-manager.

Objects are stored, defaulted, validated, admitted and authorized as in any cluster. Of the
controllers those run that the namespace workflow waits for: namespaces are emptied and removed,
quotas get a status, each namespace its ServiceAccount `default`. No pod is ever started.

Everything listens on loopback, in a folder of its own, and is gone with the tests. Knows nothing
of manifests.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cluster.programs import program

_ADMIN_TOKEN = "administrator-of-the-tests"
_START_SECONDS = 90.0
_STOP_SECONDS = 20.0
_CONTROLLERS = (
    "namespace-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "clusterrole-aggregation-controller",
)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running API server.

    Attributes:
        url: its address.
        certificate: what it shows, which clients have to trust.
        folder: where kubeconfigs may be written.
        admin: the kubeconfig of a member of system:masters.
        version: what the server says of itself, such as v1.35.4.
    """

    url: str
    certificate: Path
    folder: Path
    admin: Path
    version: str

    def kubeconfig(self, name: str, token: str, *, namespace: str = "default") -> Path:
        """Write a kubeconfig that shows this bearer token."""
        path = self.folder / f"{name}.kubeconfig"
        _write_kubeconfig(path, self.url, self.certificate, token=token, namespace=namespace)
        return path


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """Start a control plane and stop it at the end.

    Raises:
        FileNotFoundError: a program is missing.
        AssertionError: one of them ended or was not ready in time; with the end of its log.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        etcd, peers, port = free_ports(3)
        store = f"http://127.0.0.1:{etcd}"
        stack.enter_context(_running("etcd", _etcd(folder, store, peers), folder))
        certificate = folder / "tls" / "apiserver.crt"
        server = stack.enter_context(
            _running("kube-apiserver", _api_server(folder, store, port), folder)
        )
        url = f"https://127.0.0.1:{port}"
        version = _ready(server, url, certificate, folder / "kube-apiserver.log")
        admin = folder / "admin.kubeconfig"
        _write_kubeconfig(admin, url, certificate, token=_ADMIN_TOKEN)
        stack.enter_context(
            _running("kube-controller-manager", _controllers(folder, admin), folder)
        )
        yield ControlPlane(url, certificate, folder, admin, version)


def _etcd(folder: Path, url: str, peer_port: int) -> list[str]:
    peers = f"http://127.0.0.1:{peer_port}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--log-level=warn",
    ]


def _api_server(folder: Path, store: str, port: int) -> list[str]:
    key, public = folder / "accounts.key", folder / "accounts.pub"
    _write_keys(key, public)
    tokens = folder / "tokens.csv"
    tokens.write_text(f"{_ADMIN_TOKEN},admin,admin,system:masters\n")
    return [
        f"--etcd-servers={store}",
        # Debian's etcd is older than what streaming lists need (progress notifications on demand).
        "--feature-gates=WatchList=false",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={folder / 'tls'}",
        "--authorization-mode=RBAC",
        f"--token-auth-file={tokens}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={public}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",
    ]


def _controllers(folder: Path, kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(_CONTROLLERS)}",
        f"--service-account-private-key-file={folder / 'accounts.key'}",
        f"--cert-dir={folder / 'controllers'}",
        f"--secure-port={free_ports(1)[0]}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--feature-gates=WatchListClient=false",
    ]


@contextmanager
def _running(
    name: str, arguments: Sequence[str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, whose output goes into a file of its name; it dies with its parent."""
    prefix = ["setpriv", "--pdeathsig", "KILL", "--"]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*prefix, program(name), *arguments],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "ETCD_UNSUPPORTED_ARCH": "arm64"},
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(process: subprocess.Popen[bytes], url: str, certificate: Path, log: Path) -> str:
    """Wait until the API server serves; returns its version."""
    limit = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < limit:
        try:
            _get(f"{url}/readyz", certificate)
            version: str = json.loads(_get(f"{url}/version", certificate))["gitVersion"]
        except (httpx.HTTPError, OSError):  # its certificate may not be there yet
            time.sleep(0.1)
        else:
            return version
    raise AssertionError(f"the API server does not serve:\n{log.read_text()[-4000:]}")


def _get(url: str, certificate: Path) -> bytes:
    trusted = ssl.create_default_context(cafile=str(certificate))
    headers = {"Authorization": f"Bearer {_ADMIN_TOKEN}"}
    answer = httpx.get(url, headers=headers, verify=trusted, timeout=5, trust_env=False)
    return answer.raise_for_status().content


def _write_keys(private: Path, public: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def _write_kubeconfig(
    path: Path, url: str, certificate: Path, *, token: str, namespace: str = "default"
) -> None:
    cluster = {"server": url, "certificate-authority": str(certificate)}
    context = {"cluster": "tests", "user": "bearer", "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "bearer", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": context}],
        "current-context": "tests",
    }
    path.write_text(yaml.safe_dump(content))


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: these programs do not say which one they chose."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
