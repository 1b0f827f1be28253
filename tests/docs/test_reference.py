"""The reference pages say what the code does."""

from __future__ import annotations

import re

import pytest

from bridge.domain.errors import error_classes
from bridge.domain.policy import Permission
from bridge.settings import Settings
from tests.docs.reference import (
    ASKED,
    GENERATED,
    REFERENCE,
    environment_names,
    every_command,
    split,
)
from tests.docs.reference import bridge as command_line


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_in_step(name: str):
    """What an operator reads is what the code has: ``python -m tests.docs.reference`` renews it."""
    _, inside, _ = split((REFERENCE / name).read_text())
    assert inside == GENERATED[name]()


def test_every_setting_is_described_with_its_names():
    """Each setting can be found under every variable it is read from."""
    text = (REFERENCE / "settings.md").read_text()
    rows = re.findall(r"^\| `([^|]+) \| ([^|]*) \| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) == len(Settings.model_fields) > 20
    for name, field in Settings.model_fields.items():
        assert field.description, name
        for variable in environment_names(name):
            assert f"`{variable}`" in text
    assert "`127.0.0.1`" in text
    assert all(description.strip().endswith(".") for _, _, description in rows)


def test_every_error_has_a_code_of_its_own():
    """A code means one thing, and every code is explained."""
    classes = error_classes()
    codes = [cls.code for cls in classes]
    assert len(codes) == len(set(codes))
    text = (REFERENCE / "errors.md").read_text()
    for cls in classes:
        assert cls.__doc__
        assert f"| `{cls.code}` | {cls.status} | {cls.title} |" in text


def test_every_permission_is_described():
    """Nobody has to read code to know who may do what."""
    assert set(ASKED) == set(Permission)


def test_every_command_and_option_is_described():
    """Nobody has to guess what a command or an option is for."""
    text = (REFERENCE / "cli.md").read_text()
    for path, found in every_command(command_line, ("bridge",)):
        assert f"## `{' '.join(path)}`" in text
        assert found.help, path
        for parameter in found.params:
            if parameter.opts[0].startswith("--"):
                assert f"`{parameter.opts[0]}`" in text
