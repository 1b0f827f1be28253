"""One look at an HTTP peer: what it answers, by which clock, with which certificate.

Knows HTTP, and the error bodies of Argo and Backstage. Must not know what is asked for, nor what
an answer means.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from cryptography import x509

from bridge.adapters.http import HttpClient, HttpError, HttpResponse, Token, authorization
from bridge.domain.errors import SettingsInvalid

_LARGEST = 4 * 1024 * 1024
_SHOWN = 300


class NoAnswer(Exception):
    """The peer cannot be reached, or says nothing in time; the text says why."""


_SUCCESSFUL = range(200, 300)
"""RFC 9110, section 15.3."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``reason`` is the text of a refusal, one line."""

    status: int
    body: Any = None
    reason: str = ""
    date: datetime | None = None
    certificate_ends: datetime | None = None

    @property
    def good(self) -> bool:
        """Whether it is a 2xx."""
        return self.status in _SUCCESSFUL


class Probe:
    """Asks one peer, with its token."""

    def __init__(self, http: HttpClient, *, token: Token | None = None, patience: float) -> None:
        """Args: *patience* is how many seconds a whole answer may take."""
        self._http = http
        self._token = token
        self._patience = patience

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. Raises NoAnswer."""
        try:
            async with (
                asyncio.timeout(self._patience),
                self._http.stream(
                    method, path, json=body, params=query, headers=self._headers()
                ) as response,
            ):
                return _answer(response, await _bounded(response))
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {self._patience:g} s") from error
        except HttpError as error:
            raise NoAnswer(str(error) or type(error).__name__) from error

    async def refusal(self, path: str, *, query: Mapping[str, str], within: float) -> Answer | None:
        """What a stream is refused with; None if it opens, or stays silent for so many seconds.

        Argo refuses at once, and sends nothing on a quiet stream for up to 15 s
        (argo-recordings/watch-idle). Raises NoAnswer.
        """
        headers = {"Accept": "text/event-stream", **self._headers()}
        try:
            async with (
                asyncio.timeout(within),
                self._http.stream("GET", path, params=query, headers=headers) as response,
            ):
                if response.is_success:
                    return None
                return _answer(response, await _bounded(response))
        except TimeoutError:
            return None
        except HttpError as error:
            raise NoAnswer(str(error) or type(error).__name__) from error

    def _headers(self) -> dict[str, str]:
        try:
            return authorization(self._token) if self._token is not None else {}
        except SettingsInvalid as error:
            raise NoAnswer(error.detail) from error


async def _bounded(response: HttpResponse) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > _LARGEST:
            break
    return bytes(data)


def _answer(response: HttpResponse, data: bytes) -> Answer:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    reason = "" if response.is_success else _reason(body, data) or response.reason_phrase
    return Answer(
        response.status_code, body, reason, date=_date(response), certificate_ends=_ends(response)
    )


def _reason(body: Any, data: bytes) -> str:
    """The text of a refusal: Argo's ``message``, also in a stream's frame, or Backstage's."""
    error = body.get("error") if isinstance(body, dict) else None
    holder = error if isinstance(error, dict) else body
    message = holder.get("message") if isinstance(holder, dict) else None
    text = str(message) if message else data[:_SHOWN].decode("utf-8", "replace")
    return " ".join(text.split())[:_SHOWN]


def _date(response: HttpResponse) -> datetime | None:
    try:
        date = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _ends(response: HttpResponse) -> datetime | None:
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    if not certificate:
        return None
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc


def certificate_end(chain: bytes) -> datetime:
    """When the first certificate of a PEM chain ends. Raises ValueError if there is none."""
    return x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc
