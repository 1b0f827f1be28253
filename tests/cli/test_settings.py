"""Settings from the environment, secrets from files, and what the logs show of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from bridge import cli
from bridge.adapters.http import authorization, token_source
from bridge.cli import main
from bridge.domain.errors import SettingsInvalid
from bridge.domain.hosts import is_loopback
from bridge.domain.redaction import Redactor
from bridge.settings import Settings
from bridge.telemetry import configure_logging

TOKEN = "t" * 24


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    """The settings of an environment with one token."""
    for name, value in {"BRIDGE_TOKENS": f"ci={TOKEN}", **environment}.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_defaults_serve_on_loopback_only(monkeypatch: pytest.MonkeyPatch):
    """A bridge is not on the network until somebody says so."""
    settings = read(monkeypatch)
    assert is_loopback(settings.host)
    assert settings.url == "http://127.0.0.1:8080"
    assert settings.argo_url == "http://127.0.0.1:2746"


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("ARGO_WORKFLOWS_URL", "argo_url", "https://argo.example"),
        ("ARGO_NAMESPACE", "argo_namespace", "workflows"),
    ],
)
def test_the_names_of_the_cluster_are_read_too(
    monkeypatch: pytest.MonkeyPatch, name: str, field: str, value: str
):
    """An environment made for other Argo clients works as it is; our own name wins."""
    assert getattr(read(monkeypatch, **{name: value}), field) == value
    own = {f"BRIDGE_{field.upper()}": "own"}
    assert getattr(read(monkeypatch, **own), field) == "own"


def test_a_setting_left_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch):
    """Deployments may write every name and leave some open."""
    names = ("BRIDGE_BACKSTAGE_URL", "BRIDGE_ARGO_URL", "BRIDGE_PORT", "PLATFORM_API_TOKEN")
    settings = read(monkeypatch, **dict.fromkeys(names, ""))
    assert (settings.backstage_url, settings.port) == (None, 8080)
    assert settings.argo_url == "http://127.0.0.1:2746"
    assert settings.platform_callback == ""


def test_trusted_plugins_are_a_list_of_names(monkeypatch: pytest.MonkeyPatch):
    """More than one plugin can be trusted by one setting."""
    assert read(monkeypatch).trusted_plugins == ("scaffolder",)
    settings = read(monkeypatch, BRIDGE_TRUSTED_PLUGINS=" scaffolder, mcp-actions ,")
    assert settings.trusted_plugins == ("scaffolder", "mcp-actions")


@pytest.mark.parametrize(
    ("environment", "callback"),
    [
        ({}, ""),
        ({"BRIDGE_CALLBACK_URL": "http://bridge"}, ""),
        ({"PLATFORM_API_TOKEN": TOKEN}, "http://127.0.0.1:8080/api/v1/namespaces"),
        (
            {"PLATFORM_API_TOKEN": TOKEN, "BRIDGE_PUBLIC_URL": "https://bridge.example/"},
            "https://bridge.example/api/v1/namespaces",
        ),
        (
            {"BRIDGE_PLATFORM_API_TOKEN": TOKEN, "BRIDGE_CALLBACK_URL": "http://bridge.ns:8080/"},
            "http://bridge.ns:8080/api/v1/namespaces",
        ),
    ],
)
def test_workflows_report_where_they_can(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], callback: str
):
    """A workflow calls the address under which it reaches the bridge, or none at all."""
    assert read(monkeypatch, **environment).platform_callback == callback


@pytest.mark.parametrize(
    "environment",
    [
        {"BRIDGE_PORT": "65536"},
        {"BRIDGE_PORT": "-1"},
        {"BRIDGE_INSTANCE": "Not A Label"},
        {"BRIDGE_MAX_BODY_BYTES": "0"},
        {"BRIDGE_ARGO_LOG_STREAMS": "250"},
        {"BRIDGE_DRAIN_SECONDS": "-1"},
    ],
)
def test_a_value_out_of_range_does_not_start(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
):
    """A value that would fail later fails at the start, by its name."""
    (name,) = environment
    with pytest.raises(ValueError, match=name.removeprefix("BRIDGE_").lower()):
        read(monkeypatch, **environment)


def test_a_short_token_is_refused_by_its_holders_name(monkeypatch: pytest.MonkeyPatch):
    """A guessable token is named without being shown."""
    with pytest.raises(SettingsInvalid) as caught:
        read(monkeypatch, BRIDGE_TOKENS="ci=hunter2")
    assert "'ci'" in caught.value.detail
    assert "hunter2" not in caught.value.detail


def test_a_token_comes_from_a_value_or_a_file(tmp_path: Path):
    """Secrets may be mounted as files; without any no header is sent."""
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert authorization(token_source(value="given", file=None)) == {
        "Authorization": "Bearer given"
    }
    assert authorization(token_source(value="given", file=file)) == {
        "Authorization": "Bearer from-file"
    }
    assert authorization(token_source(value=None, file=None)) == {}


# --- logs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["short", "change-me-in-production-change-me-in-production"])
def test_a_weak_key_for_secrets_does_not_start(key: str):
    """What seals other people's passwords cannot be guessed."""
    with pytest.raises(SettingsInvalid, match="BRIDGE_SECRET_KEY"):
        Settings(tokens=SecretStr("ci=a-token-of-24-bytes-or-more"), secret_key=SecretStr(key))


@pytest.mark.parametrize(("name", "value"), [("BRIDGE_PORT", "x"), ("BRIDGE_ADMINS", "user:")])
def test_a_wrong_setting_does_not_show_the_secrets_beside_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    """The sentence that a wrong setting ends with goes to a log that many people read."""
    monkeypatch.setenv("BRIDGE_TOKENS", "one=a-token-that-nobody-should-see")
    monkeypatch.setenv(name, value)
    found = CliRunner().invoke(main, ["serve"])
    assert found.exit_code == 1
    assert found.stderr.startswith("Error: ")
    assert "a-token" not in found.stderr


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was logged since the last look; all loggers are put back afterwards."""
    loggers = [logging.getLogger(name) for name in (None, "httpx", "httpcore", "uvicorn.access")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield lambda: capsys.readouterr().err
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def test_a_log_line_is_json_with_its_ids(log: Callable[[], str]):
    """Every line of a run can be found by the run's id."""
    configure_logging(level="info", style="json")
    logging.getLogger("bridge.test").info("submitted %s", "wf", extra={"run": "01k", "n": 1})
    logging.getLogger("bridge.test").debug("not shown")
    (entry,) = map(json.loads, log().splitlines())
    assert entry["event"] == "submitted wf"
    assert (entry["run"], entry["n"], entry["level"]) == ("01k", 1, "info")
    assert entry["logger"] == "bridge.test"
    assert entry["timestamp"].endswith("Z")


def fail(reason: str) -> None:
    """Raise."""
    raise RuntimeError(reason)


def test_a_stack_is_one_json_line(log: Callable[[], str]):
    """A crash does not tear the log apart."""
    configure_logging(level="info", style="json")
    try:
        fail("broken")
    except RuntimeError:
        logging.getLogger("bridge.test").exception("failed")
    (entry,) = map(json.loads, log().splitlines())
    assert "RuntimeError: broken" in entry["exception"]


@pytest.mark.parametrize(
    "name", ["token", "argo_token", "Authorization", "client_secret", "cookie"]
)
def test_a_secret_is_hidden_by_its_name(log: Callable[[], str], name: str):
    """A secret that somebody logs by mistake is not in the log."""
    configure_logging(level="info", style="json")
    logging.getLogger("bridge.test").info("x", extra={name: "s3cret-value"})
    assert json.loads(text := log())[name] == "***"
    assert "s3cret-value" not in text


def test_a_bearer_token_is_hidden_in_any_text(log: Callable[[], str]):
    """A header that ends up in a sentence or a stack is not in the log either."""
    configure_logging(level="info", style="json")
    logger = logging.getLogger("bridge.test")
    logger.info("sent Authorization: Bearer abc.def-ghi== to Argo")
    try:
        fail("bearer abc.def-ghi")
    except RuntimeError:
        logger.exception("failed")
    text = log()
    assert "abc.def" not in text
    assert "to Argo" in text


def test_a_known_secret_is_hidden_in_any_field_and_stack(log: Callable[[], str]):
    """The bridge's own tokens are not in its log, however they got there."""
    configure_logging(level="info", style="json", redactor=lambda: Redactor(["a-known-secret"]))
    logger = logging.getLogger("bridge.test")
    logger.info("sent %s", "a-known-secret", extra={"nested": [{"x": "a-known-secret"}]})
    try:
        fail("a-known-secret")
    except RuntimeError:
        logger.exception("failed")
    text = log()
    assert "a-known-secret" not in text
    first, second = map(json.loads, text.splitlines())
    assert (first["event"], first["nested"]) == ("sent ***", [{"x": "***"}])
    assert "RuntimeError: ***" in second["exception"]


def test_a_served_bridge_hides_the_secrets_of_its_settings(
    log: Callable[[], str], monkeypatch: pytest.MonkeyPatch
):
    """Whatever a library logs while the bridge runs, its own tokens are not in it."""

    async def serve(_: Settings) -> None:
        logging.getLogger("somebody").warning("sent plain-words-as-a-token to Argo")

    monkeypatch.setattr(cli, "_serve", serve)
    monkeypatch.setenv("BRIDGE_DEMO", "true")
    monkeypatch.setenv("BRIDGE_ARGO_TOKEN", "plain-words-as-a-token")
    found = CliRunner().invoke(main, ["serve"])
    assert found.exit_code == 0, found.output
    text = found.stderr + log()
    assert "sent *** to Argo" in text
    assert "plain-words" not in text


def test_people_can_read_the_console(log: Callable[[], str]):
    """On a terminal a line is a sentence, not JSON."""
    configure_logging(level="warning", style="console")
    logging.getLogger("bridge.test").warning("definition not in use", extra={"file": "a.yaml"})
    text = log()
    assert "definition not in use" in text
    assert not text.startswith("{")


def test_the_http_client_does_not_log_every_request(log: Callable[[], str]):
    """Debugging the bridge is not drowned in lines of its client."""
    configure_logging(level="debug", style="json")
    logging.getLogger("httpx").info("HTTP Request: GET")
    logging.getLogger("bridge.test").debug("shown")
    (entry,) = map(json.loads, log().splitlines())
    assert entry["event"] == "shown"
