"""The tokens that a real Backstage signs: each passes at the bridge, and none that was altered."""

import asyncio
import base64
import contextlib
import json
import re
import socket
import socketserver
import threading
import time
from datetime import datetime, timedelta

import jwt
import pytest

from bridge.adapters.http import client
from bridge.adapters.keys import keys_of_backstage
from bridge.adapters.system import SystemClock
from bridge.domain.errors import Unauthenticated
from bridge.identity import authenticator_of
from bridge.settings import Settings
from tests.e2e.conftest import READY_SECONDS, form, parts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

WAIT_SECONDS = 60.0
_BEARER = re.compile(rb"authorization: bearer ([\w.-]+)", re.IGNORECASE)


class Recorder(socketserver.ThreadingTCPServer):
    """Passes bytes on to the bridge, and notes the bearer tokens among them."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), Passing)
        self.bridge = ("127.0.0.1", port)
        self.tokens = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Passing(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self):
        """Pass on in both directions until one side ends."""
        with contextlib.suppress(OSError), socket.create_connection(self.server.bridge) as bridge:
            back = threading.Thread(target=self.pump, args=(bridge, self.request), daemon=True)
            back.start()
            self.pump(self.request, bridge, note=True)

    def pump(self, source, target, *, note=False):
        """Pass on what *source* sends; heads of requests come in one piece here."""
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if note:
                    self.server.tokens += [found.decode() for found in _BEARER.findall(data)]
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A Backstage, its bridge that lets nobody in without a token, and what one sent the other."""
    state = tmp_path_factory.mktemp("tokens")
    ports = {name: parts.free_port() for name in ("argo", "bridge", "backstage")}
    built = parts.build(state, ports=ports, bridge_environment={"BRIDGE_DEMO": "false"})
    with Recorder(ports["bridge"]) as recorder:
        threading.Thread(target=recorder.serve_forever, daemon=True).start()
        built.backstage.environment["BRIDGE_URL"] = recorder.url
        try:
            for program in built.programs:
                program.start()
                program.wait_ready(within=READY_SECONDS)
            yield built, recorder
        finally:
            built.stop()
            recorder.shutdown()


@pytest.fixture(scope="module")
def user(world):
    """The token of somebody who signed in."""
    return parts.Portal.sign_in(world[0].backstage_url).token


@pytest.fixture(scope="module")
def plugin(world, user):
    """The token by which the scaffolder submitted that person's form."""
    stack, recorder = world
    portal = parts.Portal(stack.backstage_url, user)
    portal.wait_for_template()
    portal.create(form(f"tokens-{int(time.time())}"))
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        for token in recorder.tokens:
            if "obo" in claims_of(token):
                return token
        time.sleep(0.1)
    raise AssertionError("the scaffolder sent no token that names a person")


def claims_of(token):
    """What a token says, believed or not."""
    return jwt.decode(token, options={"verify_signature": False})


def status(stack, token):
    """What the bridge answers to a token."""
    try:
        parts.call(
            "GET", f"{stack.bridge_url}/v1/runs", headers={"Authorization": f"Bearer {token}"}
        )
    except parts.StackError as error:
        return int(re.search(r"answered (\d+)", str(error))[1])
    return 200


def with_header(token, **changed):
    """*token* with another header before its payload and signature."""
    _, payload, signature = token.split(".")
    return f"{encoded({**jwt.get_unverified_header(token), **changed})}.{payload}.{signature}"


def with_claims(token, **changed):
    """*token* with other claims under its signature."""
    header, _, signature = token.split(".")
    return f"{header}.{encoded({**claims_of(token), **changed})}.{signature}"


def encoded(value):
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def resigned(token):
    """*token* with one bit of its signature changed."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


ALTERATIONS = {
    "another person": lambda token: with_claims(token, sub="user:default/root"),
    "a longer life": lambda token: with_claims(token, exp=int(time.time()) + 86_400),
    "for everybody": lambda token: with_claims(token, aud=["argo-bridge", "backstage"]),
    "another signature": resigned,
    "no signature": lambda token: token.rpartition(".")[0] + ".",
    "another algorithm": lambda token: with_header(token, alg="none"),
    "a plain type": lambda token: with_header(token, typ="JWT"),
    "a key of its own": lambda token: with_header(token, jku="http://127.0.0.1:9/keys"),
}


def test_backstage_signs_as_it_is_documented_to(user, plugin):
    """What the verifiers expect is what a real Backstage of this version signs."""
    assert jwt.get_unverified_header(user)["typ"] == "vnd.backstage.user"
    assert claims_of(user)["sub"] == "user:default/guest"
    assert jwt.get_unverified_header(plugin)["typ"] == "vnd.backstage.plugin"
    assert {"sub": "scaffolder", "aud": "argo-bridge"}.items() <= claims_of(plugin).items()
    obo = claims_of(plugin)["obo"]
    assert jwt.get_unverified_header(obo)["typ"] == "vnd.backstage.limited-user"
    assert claims_of(obo)["sub"] == "user:default/guest"


def test_tokens_of_backstage_pass(world, user, plugin):
    """Whoever is signed in to Backstage needs nothing else, directly or through a template."""
    stack, _ = world
    assert status(stack, user) == 200
    assert status(stack, plugin) == 200


def test_what_was_altered_fails(world, user, plugin):
    """A token that anybody but Backstage touched opens nothing."""
    stack, _ = world
    answers = {
        (kind, name): status(stack, alter(token))
        for kind, token in (("user", user), ("plugin", plugin))
        for name, alter in ALTERATIONS.items()
    }
    assert answers == dict.fromkeys(answers, 401)


def test_a_key_that_is_for_something_else_fails(world, user, plugin):
    """A key id that is not in the set opens nothing: no, or not to be said before it is read."""
    stack, _ = world
    for token in (
        with_header(user, kid="made-up"),
        with_header(plugin, kid="made-up"),
        with_header(user, typ="vnd.backstage.plugin"),
        with_header(plugin, typ="vnd.backstage.user"),
    ):
        assert status(stack, token) in {401, 503}


def test_nobody_is_put_into_a_plugins_token(world, user, plugin):
    """Whom the scaffolder acts for cannot be swapped, and its proof of it is no token itself."""
    stack, _ = world
    obo = claims_of(plugin)["obo"]
    for token in (
        with_claims(plugin, obo=user),
        with_claims(plugin, obo=with_claims(obo, sub="user:default/root")),
        with_claims(plugin, obo=None),
        obo,
    ):
        assert status(stack, token) == 401


class Later(datetime):
    """A clock two days ahead."""

    @classmethod
    def now(cls, tz=None):
        """The time."""
        return datetime.now(tz) + timedelta(days=2)


def test_tokens_of_backstage_end(world, user, plugin, monkeypatch):
    """A token that was copied today opens nothing the day after tomorrow."""
    stack, _ = world

    async def identify(token):
        async with client(stack.backstage_url, timeout=10, connections=2) as http:
            keys = keys_of_backstage(http, clock=SystemClock())
            door = authenticator_of(
                Settings(backstage_url=stack.backstage_url), keys, clock=SystemClock()
            )
            return await door.identify(f"Bearer {token}", path="/v1/runs")

    for token in (user, plugin):
        assert asyncio.run(identify(token)).user == "user:default/guest"
    monkeypatch.setattr("jwt.api_jwt.datetime", Later)
    for token in (user, plugin):
        with pytest.raises(Unauthenticated, match="expired"):
            asyncio.run(identify(token))
