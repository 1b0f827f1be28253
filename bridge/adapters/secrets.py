"""Secrets that lie in files: read again when a file changes, so that rotation needs no restart.

Knows files. Must not know what is in them: whoever asks says how to read the text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from bridge.domain.errors import SettingsInvalid

_log = logging.getLogger(__name__)
_LARGEST = 256 * 1024
T = TypeVar("T")


class SecretFile(Generic[T]):
    """What a file says now.

    A look at its age costs microseconds and is taken at each use. What cannot be read, or says
    nothing that makes sense, is logged once and does not end what counted before: a rotation may
    be half done.
    """

    def __init__(self, file: Path, *, parse: Callable[[str], T]) -> None:
        """Read it for the first time.

        Args:
            file: The file; a link is followed at each look, as mounted secrets are swapped so.
            parse: Makes a value of the text, or raises SettingsInvalid.

        Raises:
            SettingsInvalid: It cannot be used.
        """
        self._file = file
        self._parse = parse
        self._seen = self._stamp()
        self._value = self._read()

    def __call__(self) -> T:
        """The value that counts now."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._value = self._read()
            except SettingsInvalid as error:
                _log.error("a changed secret is not in use: %s", error.detail)
        return self._value

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> T:
        try:
            with self._file.open(encoding="utf-8") as opened:
                text = opened.read(_LARGEST)
        except (OSError, ValueError) as error:
            raise SettingsInvalid(f"the file {self._file} cannot be read: {error}") from error
        return self._parse(text)
