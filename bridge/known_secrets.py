"""The secrets of the settings, so that they can be kept out of everything that is told.

Knows which settings are secrets, which files hold some, and what seals those of others. Must not
know where any of them might be told.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from bridge.adapters.vault import KeyVault
from bridge.domain.credentials import keys
from bridge.identity import rotating
from bridge.settings import Settings

_LOOK_SECONDS = 1.0
_KEPT = 4
"""How many texts of a file count: the one before may still be in use somewhere."""
_DATABASE = "database_url"
_SEPARATORS = re.compile(r"[\s,]+")
_NAME = re.compile(r"[\w.-]+=")


class KnownSecrets:
    """All secrets by now; files are looked at again every second at most.

    Thread-safe: logs are written by several threads.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fixed = frozenset(_of_variables(settings))
        self._texts: dict[str, list[str]] = {name: [] for name, _ in _files(settings)}
        self._files = dict(_files(settings))
        self._stamps: dict[str, tuple[int, int, int] | None] = {}
        self._secrets = self._fixed
        self._look()
        self._looked = clock()

    def __call__(self) -> frozenset[str]:
        """The secrets; the same object as before unless a file has changed."""
        if self._clock() - self._looked >= _LOOK_SECONDS and self._lock.acquire(blocking=False):
            try:
                self._looked = self._clock()
                self._look()
            finally:
                self._lock.release()
        return self._secrets

    def _look(self) -> None:
        changed = [name for name, file in self._files.items() if self._has_changed(name, file)]
        for name in changed:
            texts = self._texts[name]
            texts.append(_text_of(self._files[name]))
            del texts[:-_KEPT]
        if changed:
            of_files = (
                secret
                for name, texts in self._texts.items()
                for text in texts
                for secret in _secrets_in(name, text)
            )
            self._secrets = self._fixed | frozenset(of_files)

    def _has_changed(self, name: str, file: Path) -> bool:
        try:
            found = file.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            return False
        before, self._stamps[name] = self._stamps.get(name), stamp
        return before != stamp


def vault_of(settings: Settings) -> KeyVault | None:
    """What seals secret fields; None without a key.

    Raises:
        SettingsInvalid: A key cannot be used.
    """
    parse = partial(keys, of="BRIDGE_SECRET_KEY", strict=True)
    found = rotating(settings.secret_key, settings.secret_key_file, parse=parse)
    return KeyVault(found) if found() else None


def _of_variables(settings: Settings) -> Iterator[str]:
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield from _secrets_in(name, value.get_secret_value())


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """The files beside secret settings, by the name of the setting that they stand for."""
    for name, field in Settings.model_fields.items():
        file = getattr(settings, f"{name}_file", None)
        if isinstance(file, Path) and SecretStr.__name__ in str(field.annotation):
            yield name, file


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):  # whoever needs it says so
        return ""


def _secrets_in(name: str, text: str) -> Iterator[str]:
    """The text as a whole and each of the secrets that it lists, with a name or without."""
    if name == _DATABASE:
        yield from _passwords(text.strip())
        return
    yield text.strip()
    for part in _SEPARATORS.split(text):
        yield part
        yield _NAME.sub("", part, count=1)


def _passwords(address: str) -> Iterator[str]:
    try:
        password = conninfo_to_dict(address).get("password")
    except Error:
        return
    if isinstance(password, str):
        yield password
