"""Sealed secrets: opened with the key that sealed them, for the run that they are of."""

from __future__ import annotations

import base64

import pytest

from bridge.adapters.vault import KeyVault
from bridge.domain.errors import SecretsUnreadable

OLD, NEW = b"old-key-" * 4, b"new-key-" * 4
VALUES = {"password": "hunter2-é-hunter2", "token": "x" * 5_000}


def vault(*keys: bytes) -> KeyVault:
    """A vault with these keys."""
    return KeyVault(lambda: keys)


def test_what_is_sealed_is_opened():
    """A run gets its secrets back after a restart."""
    sealed = vault(OLD).seal(VALUES, run_id="r1")
    assert vault(OLD).open(sealed.text, run_id="r1") == VALUES
    assert "hunter2" not in sealed.text
    assert b"hunter2" not in base64.b64decode(sealed.text)


def test_the_same_secrets_are_never_sealed_alike_and_marked_alike_always():
    """Nobody sees in the store who has the same password; the bridge sees a repeated request."""
    one, two, again = (vault(OLD).seal(VALUES, run_id=run_id) for run_id in ("r1", "r2", "r1"))
    assert len({one.text[:16], two.text[:16], again.text[:16]}) == 3
    assert one.mark == two.mark == again.mark
    assert vault(OLD).seal({"password": "another"}, run_id="r1").mark != one.mark
    assert vault(NEW).seal(VALUES, run_id="r1").mark != one.mark


@pytest.mark.parametrize("keys", [(NEW,), ()])
def test_without_the_key_nothing_is_opened(keys: tuple[bytes, ...]):
    """Whoever has the database has no passwords, and the run says what to do."""
    sealed = vault(OLD).seal(VALUES, run_id="r1")
    with pytest.raises(SecretsUnreadable, match="ask for the run again"):
        vault(*keys).open(sealed.text, run_id="r1")


def test_a_key_is_replaced_while_runs_are_open():
    """The first key seals, and what others sealed can still be opened."""
    before = vault(OLD).seal(VALUES, run_id="r1")
    both = vault(NEW, OLD)
    assert both.open(before.text, run_id="r1") == VALUES
    assert vault(NEW).open(both.seal(VALUES, run_id="r1").text, run_id="r1") == VALUES


@pytest.mark.parametrize("place", [0, 20, -1])
def test_what_was_changed_is_not_opened(place: int):
    """Somebody who can write the store cannot make a run do something with other secrets."""
    sealed = bytearray(base64.b64decode(vault(OLD).seal(VALUES, run_id="r1").text))
    sealed[place] ^= 1
    with pytest.raises(SecretsUnreadable):
        vault(OLD).open(base64.b64encode(sealed).decode(), run_id="r1")


def test_the_secrets_of_one_run_do_not_open_for_another():
    """Nor with those of somebody else's run."""
    sealed = vault(OLD).seal(VALUES, run_id="r1")
    with pytest.raises(SecretsUnreadable):
        vault(OLD).open(sealed.text, run_id="r2")


def test_without_a_key_nothing_is_sealed():
    """A secret is refused rather than kept in clear."""
    with pytest.raises(SecretsUnreadable, match="set BRIDGE_SECRET_KEY"):
        vault().seal(VALUES, run_id="r1")
