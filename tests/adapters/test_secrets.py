"""Secrets in files: what is written there counts, from when it is written."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bridge.adapters.secrets import SecretFile
from bridge.domain.errors import SettingsInvalid


def words(text: str) -> tuple[str, ...]:
    """What a file of words says; it must say something."""
    if not text.split():
        raise SettingsInvalid("no words")
    return tuple(text.split())


def test_a_changed_file_counts_at_once(tmp_path: Path):
    """A rotated secret needs no restart, however it is put in place."""
    file = tmp_path / "secret"
    file.write_text("old")
    secret = SecretFile(file, parse=words)
    assert secret() == ("old",)
    file.write_text("old new")
    assert secret() == ("old", "new")
    other = tmp_path / "other"
    other.write_text("new")
    other.replace(file)
    assert secret() == ("new",)


def test_a_mounted_secret_is_swapped_by_its_link(tmp_path: Path):
    """Kubernetes replaces the folder behind a link; the file itself never changes."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(name)
    link, file = tmp_path / "data", tmp_path / "secret"
    link.symlink_to("one")
    file.symlink_to(Path("data") / "secret")
    secret = SecretFile(file, parse=words)
    assert secret() == ("one",)
    link.unlink()
    link.symlink_to("two")
    assert secret() == ("two",)


def test_a_rotation_that_went_wrong_locks_nobody_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """What counted goes on counting, the log says why, and the next good text counts again."""
    file = tmp_path / "secret"
    file.write_text("good")
    secret = SecretFile(file, parse=words)
    with caplog.at_level(logging.ERROR):
        for bad in (b"", b"\xff\xfe"):
            file.write_bytes(bad)
            assert [secret(), secret()] == [("good",)] * 2
        file.unlink()
        assert secret() == ("good",)
    assert len(caplog.records) == 3
    file.write_text("better")
    assert secret() == ("better",)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_file_that_cannot_be_used_at_the_start_is_a_sentence(
    tmp_path: Path, content: bytes | None
):
    """A mistake in a mount ends the start, not the first request."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsInvalid):
        SecretFile(file, parse=words)
