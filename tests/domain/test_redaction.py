"""Secrets are hidden wherever they stand; lines that hold none stay as they are."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.redaction import Redactor

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.dGhlLXNpZ25hdHVyZQ"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"
KNOWN = ("service-token-of-24-characters", 'a"quoted\\secret', "pass word/with?all", "tenchars12")
PLAIN = Redactor()
KNOWING = Redactor(KNOWN)

HIDDEN = {
    "> Authorization: Bearer abcdef": "> Authorization: ***",
    "Authorization: Basic YW5uOmh1bnRlcg==": "Authorization: ***",
    "authorization=abcdef": "authorization=***",
    'curl -H "Authorization: token abcdef" https://x': ('curl -H "Authorization: ***" https://x'),
    '{"Authorization": "Bearer abcdef", "Accept": "*/*"}': (
        '{"Authorization": "***", "Accept": "*/*"}'
    ),
    "Proxy-Authorization: Digest abcdef, next": "Proxy-Authorization: ***, next",
    "got bearer abc.def-ghi back": "got bearer *** back",
    "sent Bearer a1b2c3d4e5f6== to Argo": "sent Bearer *** to Argo",
    "Cookie: session=abc; other=def": "Cookie: ***",
    "Set-Cookie: session=abc; Path=/": "Set-Cookie: ***",
    "x-api-key=abcdef": "x-api-key=***",
    f"the token {JWT}.": "the token ***",
    f"a={JWT}&b=1": "a=***&b=1",
    "password=hunter2": "password=***",
    "--password=hunter2 --user ann": "--password=*** --user ann",
    "mysql --password hunter --user ann": "mysql --password *** --user ann",
    "DB_PASSWORD=hunter2 started": "DB_PASSWORD=*** started",
    "export GITHUB_TOKEN='abc def'": "export GITHUB_TOKEN='***'",
    "https://x/?access_token=abcdef&page=2": "https://x/?access_token=***&page=2",
    'client_secret: "a b, c"': 'client_secret: "***"',
    "password: hunter2": "password: ***",
    "  token: abcdef123": "  token: ***",
    '{"password":"hunter2","user":"ann"}': '{"password":"***","user":"ann"}',
    '{"apiKey": "a\\"b", "user": "ann"}': '{"apiKey": "***", "user": "ann"}',
    '{\\"token\\":\\"abc\\",\\"user\\":\\"ann\\"}': '{\\"token\\":\\"***\\",\\"user\\":\\"ann\\"}',
    "postgresql://bridge:hunter2@db:5432/bridge": "postgresql://bridge:***@db:5432/bridge",
    "https://ann:p@ss@example.com/x": "https://ann:***@example.com/x",
    "https://ghp_0123456789abcdefghij@github.com/x": "https://***@github.com/x",
    "redis://:hunter2@cache": "redis://:***@cache",
    f"key:\n{PEM}\nend": "key:\n***\nend",
}

NORMAL = (
    "namespace/team-a-dev created",
    "secret/team-a-tls created",
    "serviceaccount/default token created",
    'Error from server (NotFound): secrets "team-a-tls" not found',
    "MountVolume.SetUp failed for volume: secret not registered",
    "Waiting for token to be issued",
    "Password must be at least 8 characters",
    "password: must have a length of at least eight",
    "token: expired",
    "invalid token",
    "prompt_tokens=512 completion_tokens=17 max_tokens: 4096",
    "imagePullSecrets: [team-a]",
    "secretName: team-a-tls",
    "automountServiceAccountToken=false",
    "password=$DB_PASSWORD token=${TOKEN} secret=<none>",
    "token=null",
    "Basic authentication is off; bearer authentication is on.",
    'WWW-Authenticate: Bearer realm="argo", error="invalid_token"',
    "the bearer of bad news, and basic blocks of code",
    "https://argo.example/workflows/argo/create-01kagw9zq6x3v5t7y8r2m4n6p8?tab=workflow",
    "git clone ssh://git@github.com/team/repo.git",
    "mailto:ann@example.com, see http://[::1]:8080/x@y",
    "✓ validate (0.8 s)",
    "● apply-quota running",
    "⏸ waiting for approval by group:platform-admins",
    "accepted namespace:create as 01kagw9zq6x3v5t7y8r2m4n6p8",
    "✗ deploy failed: main: Error (exit code 64): no more retries",
    '10.0.0.1 - - [22/Nov/2026:10:00:00 +0000] "GET /healthz HTTP/1.1" 200 15',
    "monkey=banana keyboard=qwerty keys: 3",
    "authorization is needed for this cookie banner",
    "level=info msg=reconciled controller=quota trace=4bf92f3577b34da6a3ce929d0e0e4736",
    "eyJ is how tokens begin",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "a value of *** stays",
    "",
)


@pytest.mark.parametrize(("text", "shown"), HIDDEN.items(), ids=str)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str):
    """A token that a workflow prints is not shown to everybody who sees its log."""
    assert PLAIN.text(text) == shown
    assert KNOWING.text(shown) == shown


@pytest.mark.parametrize("text", NORMAL)
def test_normal_lines_are_not_hurt(text: str):
    """Whoever reads a log reads what was written."""
    assert PLAIN.text(text) is text
    assert KNOWING.text(text) == text
    assert KNOWING.value({"a": [text]}) == {"a": [text]}


@pytest.mark.parametrize("secret", KNOWN)
def test_a_known_secret_is_hidden_in_every_form(secret: str):
    """The bridge's own tokens are not told, also not in JSON, in addresses or in base64."""
    forms = (
        secret,
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        b64encode(secret.encode()).decode(),
    )
    for form in forms:
        assert KNOWING.text(f"got {form}, and {form}") == "got ***, and ***"


def test_a_short_secret_is_hidden_as_a_word_only():
    """A password that is a part of many words does not make a log unreadable."""
    knowing = Redactor(["postgres", "dev"])
    assert knowing.text("postgres failed") == "*** failed"
    assert knowing.text("postgresql in dev, apostgres") == "postgresql in dev, apostgres"
    assert KNOWING.text("xservice-token-of-24-charactersx") == "x***x"


def test_of_two_secrets_the_longer_one_is_hidden_whole():
    """No end of a secret is left over because another one begins like it."""
    knowing = Redactor(["service-token-of", "service-token-of-24-characters"])
    assert knowing.text("service-token-of-24-characters") == "***"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"token": "abc"}, {"token": "***"}),
        ({"adminPassword": 1234}, {"adminPassword": "***"}),
        ({"nested": [{"client_secret": "x"}]}, {"nested": [{"client_secret": "***"}]}),
        ({"url": "https://a:b@c/"}, {"url": "https://a:***@c/"}),
        ({"token": None, "password": "", "secret": True}, None),
        ({"secretName": "x", "tokens": 5, "tokenEndpoint": "/t", "n": 1.5}, None),
        ({"token": {"name": "x"}}, None),
        ({"text": "x"}, None),
    ],
)
def test_values_are_hidden_by_their_names(value: Any, shown: Any):
    """An output under the name of a secret is not shown, whatever it looks like."""
    assert PLAIN.value(value) == (value if shown is None else shown)
    if shown is None:
        assert PLAIN.value(value) is value


@pytest.mark.parametrize(
    "value",
    [
        {"password": "hunter2", "port": 5432},
        {"password": 12345678, "list": [{"token": "x y"}]},
        [{"dsn": "postgresql://a:b@c/d", "text": 'password="x" é'}],
        {"known": KNOWN[1], "n": None},
        {"inner": json.dumps({"token": 'a"b', "x": [1]})},
    ],
)
def test_an_output_that_is_json_stays_json(value: Any):
    """Whoever reads an output as JSON still can, after a secret in it was hidden."""
    text = json.dumps(value, indent=1)
    shown = KNOWING.value(text)
    assert "***" in shown
    assert json.loads(shown) == KNOWING.value(value)
    for secret in ("hunter2", "12345678", "x y", ":b@", 'a\\"b', "quoted"):
        assert secret not in shown


def test_what_only_looks_like_json_is_text():
    """Half of a JSON value is hidden like any text."""
    assert PLAIN.value('{"password": "hunter2", ') == '{"password": "***", '


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_values_keep_their_shape(value: Any):
    """Hiding changes texts and nothing else."""
    shown = KNOWING.value(value)
    assert json.loads(json.dumps(shown)) is not NotImplemented
    assert _shape(shown) == _shape(value)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(item) for name, item in value.items()}
    return [_shape(item) for item in value] if isinstance(value, list) else None


@given(st.text(), st.sampled_from((KNOWN[0], KNOWN[2])), st.text())
def test_a_known_secret_never_passes(before: str, secret: str, after: str):
    """Whatever stands around it."""
    assert secret not in KNOWING.text(before + secret + after)


@pytest.mark.parametrize(
    "line",
    [
        "token " + "a" * 100_000,
        "token " + "-" * 100_000,
        "token=" + '"' + "\\" * 100_000,
        "eyJ" + "a." * 50_000 + "token",
        "token: " * 20_000,
        "://" * 30_000 + "token",
        "://a:" + "b" * 100_000,
        "bearer " * 20_000,
        "-----BEGIN PRIVATE KEY-----" * 4_000,
        "password" + " " * 100_000,
        "authorization: " * 10_000,
        "token\\\\\\\\" * 20_000,
    ],
    ids=lambda line: line[:20],
)
def test_no_line_takes_long(line: str):
    """A hostile line of a pod cannot hold up everybody's streams."""
    began = time.process_time()
    KNOWING.text(line)
    assert time.process_time() - began < 1
