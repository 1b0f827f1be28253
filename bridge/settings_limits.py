"""How much is let in, and how it is carried: limits, TLS and who may ask from a browser.

Knows names and defaults; ``settings`` has the rest, and says which combinations must not start.
Must not know what the parts do with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from bridge.domain.errors import SettingsInvalid
from bridge.domain.json_text import BodyLimits


class LimitSettings(BaseSettings):
    """The part of the settings that bounds requests."""

    # --- connections
    max_connections: int = Field(
        default=15_000,
        gt=0,
        description="Open connections; never more than the system's limit on files allows.",
    )
    max_header_bytes: int = Field(
        default=32 * 1024, ge=1024, description="Largest head of a request: address and headers."
    )
    request_seconds: float = Field(
        default=20.0, gt=0, description="In how long a request must have arrived in full."
    )
    stall_seconds: float = Field(
        default=60.0,
        ge=1,
        description="After how long an answer is given up that its reader does not take.",
    )
    tls_cert_file: Path | None = Field(
        default=None,
        description="Certificate chain (PEM): serve HTTPS; read again when it changes.",
    )
    tls_key_file: Path | None = Field(default=None, description="Its private key (PEM).")
    ca_file: Path | None = Field(
        default=None,
        description="Authorities (PEM) to trust besides the system's when Argo, Backstage and "
        "issuers are asked; read at the start.",
    )
    issuer_proxy: str | None = Field(
        default=None,
        description="HTTP proxy by which issuers of OpenID Connect are asked, without a password; "
        "proxies of the environment are not used.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose pages may call the API from a browser, separated by commas.",
    )

    # --- bodies
    max_body_bytes: int = Field(
        default=256 * 1024, gt=0, description="Largest request body that is read."
    )
    max_json_depth: int = Field(
        default=32, gt=0, le=200, description="Deepest nesting of a request body."
    )
    max_json_items: int = Field(
        default=10_000, gt=0, description="Most fields and list items of a request body in all."
    )
    max_string_bytes: int = Field(
        default=64 * 1024, gt=0, description="Longest string of a request body, as it is sent."
    )

    # --- callers
    max_unverified: int = Field(
        default=256,
        gt=0,
        description="Requests under way at a time whose caller is not known (yet).",
    )
    requests_per_second: float = Field(
        default=500.0,
        gt=0,
        description="Requests of one caller in the long run; ten seconds' worth may come at once.",
    )
    posts_per_second: float = Field(
        default=50.0, gt=0, description="The same for POST requests, which start or change runs."
    )
    max_streams: int = Field(
        default=12_000, gt=0, description="Live streams that are open at a time."
    )
    streams_per_caller: int = Field(
        default=2_000,
        gt=0,
        description="Live streams of one caller; Backstage itself follows the runs of users whose "
        "tokens have expired.",
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise SettingsInvalid("BRIDGE_TLS_CERT_FILE and BRIDGE_TLS_KEY_FILE go together")
        for origin in self.cors_origins:
            scheme, _, host = origin.partition("://")
            if scheme not in {"http", "https"} or not host or "/" in host or "*" in host:
                raise SettingsInvalid(
                    f"BRIDGE_CORS_ORIGINS lists {origin!r}, which is no origin such as "
                    "https://portal.example"
                )
        self._proxy_is_an_address()
        return self

    def _proxy_is_an_address(self) -> None:
        if self.issuer_proxy is None:
            return
        scheme, _, host = self.issuer_proxy.rstrip("/").partition("://")
        if scheme not in {"http", "https"} or not host or "/" in host or "@" in host:
            raise SettingsInvalid(
                "BRIDGE_ISSUER_PROXY is no address such as http://proxy.example:3128, without a "
                "name and a password"
            )

    @property
    def body_limits(self) -> BodyLimits:
        """What a body may cost."""
        return BodyLimits(
            size=self.max_body_bytes,
            depth=self.max_json_depth,
            items=self.max_json_items,
            text=self.max_string_bytes,
        )

    @property
    def scheme(self) -> str:
        """How the bridge itself is spoken to."""
        return "http" if self.tls_cert_file is None else "https"
