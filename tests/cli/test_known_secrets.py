"""The secrets of the settings are known, those in files too, and after a rotation."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.domain.redaction import Redactor
from bridge.known_secrets import KnownSecrets
from bridge.settings import Settings

LONG = "0123456789-0123456789-0123456789"


class Time:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def settings(**given: Any) -> Settings:
    """Settings that may start."""
    return Settings(demo=True, **given)


def secret_settings() -> list[str]:
    """The names of all settings that hold a secret."""
    return [n for n, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]


@pytest.mark.parametrize("name", [name for name in secret_settings() if name != "database_url"])
def test_every_secret_setting_is_known(name: str):
    """Whoever adds a secret setting need not think of the log."""
    text = "whsec_" + "QUJD" * 10 if name == "webhook_secrets" else LONG
    given = f"one={text}" if name in {"tokens", "webhook_secrets"} else text
    known = KnownSecrets(settings(**{name: SecretStr(given)}))
    assert Redactor(known()).text(f"got {text}.") == "got ***."


@pytest.mark.parametrize("name", [name for name in secret_settings() if name != "database_url"])
def test_every_secret_in_a_file_is_known(name: str, tmp_path: Path):
    """The same for what is mounted as a file; a list of secrets counts one by one."""
    if f"{name}_file" not in Settings.model_fields:
        pytest.fail(f"{name} cannot be given as a file")
    file = tmp_path / "secret"
    file.write_text(f"one={LONG}, two=another-{LONG}\n")
    known = KnownSecrets(settings(**{f"{name}_file": file}))
    hidden = Redactor(known()).text(f"got {LONG} and another-{LONG}.")
    assert hidden == "got *** and ***."


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://bridge:hunter2hunter2@db:5432/bridge",
        "host=db user=bridge password=hunter2hunter2 dbname=bridge",
    ],
)
def test_of_a_database_only_the_password_is_a_secret(address: str, tmp_path: Path):
    """An error may name host, user and database."""
    file = tmp_path / "address"
    file.write_text(address + "\n")
    for given in ({"database_url": SecretStr(address)}, {"database_url_file": file}):
        assert KnownSecrets(settings(**given))() == {"hunter2hunter2"}


@pytest.mark.parametrize("address", ["postgresql://db/bridge", "no address = at all = none"])
def test_an_address_without_a_password_is_no_secret(address: str):
    """Peer authentication needs no secret, and a wrong address is told by whoever connects."""
    assert KnownSecrets(settings(database_url=SecretStr(address)))() == frozenset()


def test_a_rotated_secret_is_known_within_a_second_and_the_old_one_still(tmp_path: Path):
    """Both may be in use somewhere while a rotation goes on."""
    file, time = tmp_path / "token", Time()
    file.write_text("first-token-of-argo\n")
    known = KnownSecrets(settings(argo_token_file=file), clock=time)
    before = known()
    file.write_text("second-token-of-argo\n")
    assert known() is before
    time.now = 1.0
    assert known() >= {"first-token-of-argo", "second-token-of-argo"}
    assert known() is known()


def test_secrets_of_long_ago_are_forgotten(tmp_path: Path):
    """Hourly rotation does not make every line cost more for ever."""
    file, time = tmp_path / "token", Time()
    file.write_text("token-number-0")
    known = KnownSecrets(settings(argo_token_file=file), clock=time)
    for number in range(1, 9):
        file.write_text(f"token-number-{number}" + " " * number)
        time.now += 1.0
        known()
    assert {secret for secret in known() if secret} == {f"token-number-{n}" for n in (5, 6, 7, 8)}


def test_a_file_that_is_away_leaves_what_was_known(tmp_path: Path):
    """In the middle of a rotation nothing is told."""
    file, time = tmp_path / "token", Time()
    known = KnownSecrets(settings(argo_token_file=file), clock=time)
    assert known() == frozenset()
    file.write_text("first-token-of-argo")
    time.now = 1.0
    assert "first-token-of-argo" in known()
    file.unlink()
    time.now = 2.0
    assert "first-token-of-argo" in known()
    file.write_bytes(b"\xff\xfe")
    time.now = 3.0
    assert "first-token-of-argo" in known()


def test_many_threads_may_ask(tmp_path: Path):
    """Lines are logged by the threads of the store as well."""
    file, time = tmp_path / "token", Time()
    file.write_text("first-token-of-argo")
    known = KnownSecrets(settings(argo_token_file=file), clock=time)
    file.write_text("second-token-of-argo")
    time.now = 1.0
    threads = [threading.Thread(target=known) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "second-token-of-argo" in known()
