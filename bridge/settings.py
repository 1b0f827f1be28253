"""What can be configured: one class, environment variables ``BRIDGE_*``, secrets from files too.

Knows names, defaults and which combinations must not start. docs/reference/settings.md lists
every one (tested). Must not know what the parts do with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from bridge.domain.credentials import bearer_digests, keys, token_digests, webhook_keys
from bridge.domain.credentials import named as named_secrets
from bridge.domain.entities import EntityRef
from bridge.domain.errors import SettingsInvalid
from bridge.domain.hosts import is_loopback
from bridge.domain.issuers import OidcIssuer, distinct
from bridge.domain.issuers import issuers as json_issuers
from bridge.settings_limits import LimitSettings

_LISTS = ("trusted_plugins", "admins")


def _split(text: object) -> object:
    return (
        tuple(part.strip() for part in text.split(",") if part.strip())
        if isinstance(text, str)
        else text
    )


def _full_ref(text: str) -> str:
    """A reference to a user or group as callers have them; anything else as it is."""
    kind = text.partition(":")[0].lower()
    return str(EntityRef.parse(text)).lower() if kind in {"user", "group"} else text


class Settings(LimitSettings):
    """All settings of ``bridge serve``."""

    model_config = SettingsConfigDict(
        env_prefix="BRIDGE_",
        env_ignore_empty=True,  # deployments set what they leave open to nothing
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # what was given may be a secret, or stand beside one
    )

    # --- serving
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on.")
    public_url: str = Field(
        default="",
        description="Address under which Backstage reaches the bridge; default: HOST and PORT.",
    )
    instance: str = Field(
        default="default",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$",
        description="Name of this bridge: it follows only workflows labelled with it.",
    )
    demo: bool = Field(
        default=False, description="Accept requests without a token; loopback addresses only."
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        description="On SIGTERM, how long to go on serving while readiness already says no.",
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")
    log_format: str = Field(default="json", description="json, or console for people.")

    # --- definitions and store
    actions: Path = Field(
        default=Path("backstage-actions/actions"),
        description="Folder with one folder per action.",
    )
    actions_reload_seconds: float = Field(
        default=5.0, gt=0, description="How often the definitions are read again."
    )
    database: Path = Field(
        default=Path("bridge.db"), description="SQLite file of the run store, for one replica."
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="postgresql:// address of the run store, for several replicas; "
        "in place of DATABASE.",
    )
    database_url_file: Path | None = Field(
        default=None, description="File with that address, read at the start."
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Key that seals the secret fields of inputs in the run store, 32 bytes or "
        "more; several, separated by blanks, while one replaces another: the first one seals.",
    )
    secret_key_file: Path | None = Field(
        default=None, description="File with more of them, read again when it changes."
    )
    lease_seconds: float = Field(
        default=10.0,
        ge=1,
        description="After how long without a sign of life others take a replica's runs over.",
    )
    keep_events_days: float = Field(
        default=30.0, gt=0, description="How long the events of ended runs are kept."
    )
    keep_runs_days: float = Field(
        default=90.0,
        ge=7,
        description="How long ended runs are kept, and with them their idempotency keys.",
    )

    # --- Argo
    argo_url: str = Field(
        default="http://127.0.0.1:2746",
        validation_alias=AliasChoices("BRIDGE_ARGO_URL", "ARGO_WORKFLOWS_URL"),
        description="Base address of the Argo Server; ARGO_WORKFLOWS_URL is read too.",
    )
    argo_namespace: str = Field(
        default="argo-workflows",
        validation_alias=AliasChoices("BRIDGE_ARGO_NAMESPACE", "ARGO_NAMESPACE"),
        description="Namespace of the workflows; ARGO_NAMESPACE is read too.",
    )
    argo_timeout: int = Field(
        default=30_000,
        gt=0,
        validation_alias=AliasChoices("BRIDGE_ARGO_TIMEOUT", "ARGO_TIMEOUT"),
        description="Milliseconds for a unary call to Argo; ARGO_TIMEOUT is read too.",
    )
    argo_token: SecretStr | None = Field(default=None, description="Bearer token for Argo.")
    argo_token_file: Path | None = Field(
        default=None, description="File with that token, read again at each use."
    )
    argo_verify_tls: bool = Field(default=True, description="Check Argo's TLS certificate.")
    argo_ui_url: str | None = Field(
        default=None, description="Address of the Argo UI, for links in entities and outputs."
    )
    argo_log_streams: int = Field(
        default=16, gt=0, le=64, description="Pod logs that are read at the same time."
    )
    argo_ttl_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="How long Argo keeps ended workflows at least (ttlStrategy); a creation "
        "interrupted longer ago is not repeated.",
    )
    stuck_seconds: float = Field(
        default=600.0, gt=0, description="A workflow without a phase for so long is deleted."
    )

    # --- Backstage
    backstage_url: str | None = Field(
        default=None, description="Base address of the Backstage backend; none: no catalog."
    )
    backstage_token: SecretStr | None = Field(
        default=None, description="Static external-access token for the catalog."
    )
    backstage_token_file: Path | None = Field(
        default=None, description="File with that token, read again at each use."
    )
    plugin_id: str = Field(
        default="argo-bridge",
        description="Audience that Backstage plugin tokens must carry.",
    )
    trusted_plugins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("scaffolder",),
        description="Backstage plugins whose tokens are accepted, separated by commas.",
    )
    backstage_issuer: str | None = Field(
        default=None,
        description="Issuer of Backstage's user tokens; default BACKSTAGE_URL/api/auth. It is "
        "what Backstage calls itself (backend.baseUrl), not how the bridge reaches it.",
    )
    backstage_user_tokens: bool = Field(
        default=True, description="Accept the tokens of Backstage's users, not only its plugins'."
    )

    # --- who else is let in
    tokens: SecretStr | None = Field(
        default=None,
        description="Static service tokens, NAME=TOKEN or NAME=sha256:HEX, separated by commas; "
        "24 characters or more.",
    )
    tokens_file: Path | None = Field(
        default=None, description="File with more of them, read again when it changes."
    )
    platform_secret: SecretStr | None = Field(
        default=None,
        description="Secret of HS256 platform tokens, 32 bytes or more; several, separated by "
        "blanks, while one replaces another.",
    )
    platform_secret_file: Path | None = Field(
        default=None, description="File with more of them, read again when it changes."
    )
    platform_issuer: str = Field(
        default="platform-api", min_length=1, description="Issuer that platform tokens must carry."
    )
    platform_audience: str = Field(
        default="platform-users",
        min_length=1,
        description="Audience that platform tokens must carry.",
    )
    oidc_issuers: str | None = Field(
        default=None, description="Issuers of OpenID Connect whose tokens are accepted, as JSON."
    )
    oidc_file: Path | None = Field(
        default=None, description="File with more of them, read at the start."
    )
    webhook_secrets: SecretStr | None = Field(
        default=None,
        description="Secrets of signed webhooks, NAME=whsec_BASE64 separated by commas; a name "
        "may have several.",
    )
    webhook_secrets_file: Path | None = Field(
        default=None, description="File with more of them, read again when it changes."
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="Bearer token for GET /metrics; without one everybody may read it who can "
        "reach the bridge.",
    )
    metrics_token_file: Path | None = Field(
        default=None, description="File with that token, read again when it changes."
    )
    admins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Who has the role platform:admin: subjects (service:ci) and entity refs "
        "(user:default/ann, group:default/platform), separated by commas.",
    )

    # --- catalog entities and the Platform API
    cluster: str = Field(default="local", description="Name of the cluster's Resource entity.")
    cluster_owner: str = Field(
        default="group:default/platform", description="Owner of that entity."
    )
    platform_api_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("BRIDGE_PLATFORM_API_TOKEN", "PLATFORM_API_TOKEN"),
        description="Bearer token that workflows use at POST /api/v1/namespaces; "
        "PLATFORM_API_TOKEN is read too.",
    )
    platform_api_token_file: Path | None = Field(
        default=None, description="File with that token, read again when it changes."
    )
    platform_action: str = Field(
        default="namespace:create",
        description="Action behind POST /api/platform/namespaces/request; the body is its input.",
    )
    callback_url: str | None = Field(
        default=None,
        description="Address that workflows call back, as they reach it; "
        "default: PUBLIC_URL if there is a PLATFORM_API_TOKEN, else none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        given = {name: _split(values[name]) for name in _LISTS if name in values}
        if isinstance(admins := given.get("admins"), tuple):
            given["admins"] = tuple(_full_ref(admin) for admin in admins)
        return {**values, **given}

    @model_validator(mode="after")
    def _may_start(self) -> Self:
        if self.demo and not is_loopback(self.host):
            raise SettingsInvalid(
                f"BRIDGE_DEMO accepts everyone, so it needs a loopback BRIDGE_HOST, not {self.host}"
            )
        if not self.demo and not self._verifies():
            raise SettingsInvalid(
                "Nobody could be let in: set BRIDGE_BACKSTAGE_URL (its tokens are then verified), "
                "BRIDGE_TOKENS, BRIDGE_PLATFORM_SECRET, BRIDGE_OIDC_ISSUERS or "
                "BRIDGE_WEBHOOK_SECRETS, or BRIDGE_DEMO=true on loopback"
            )
        if not self.demo:
            self._expect_strong_secrets()
        for admin in self.admins:
            if ":" not in admin:
                raise SettingsInvalid(
                    f"BRIDGE_ADMINS: {admin!r} is no subject of one caller and no entity ref"
                )
        if self.oidc_issuers is not None:
            json_issuers(self.oidc_issuers, of="BRIDGE_OIDC_ISSUERS")
        if self.keep_runs_days < self.keep_events_days:
            raise SettingsInvalid("BRIDGE_KEEP_RUNS_DAYS must not be below BRIDGE_KEEP_EVENTS_DAYS")
        return self

    def _verifies(self) -> bool:
        """Whether there is anything that could prove who somebody is."""
        named = self.tokens is not None and named_secrets(_text(self.tokens), of="BRIDGE_TOKENS")
        keys_of = (self.backstage_url, self.oidc_issuers, self.oidc_file)
        secrets = (self.platform_secret, self.platform_secret_file, self.tokens_file)
        hooks = (self.webhook_secrets, self.webhook_secrets_file)
        return bool(named) or any((*keys_of, *secrets, *hooks))

    def _expect_strong_secrets(self) -> None:
        if self.tokens is not None:
            token_digests(_text(self.tokens), of="BRIDGE_TOKENS", strict=True)
        if self.platform_api_token is not None:
            bearer_digests(_text(self.platform_api_token), of="PLATFORM_API_TOKEN", strict=True)
        if self.metrics_token is not None:
            bearer_digests(_text(self.metrics_token), of="BRIDGE_METRICS_TOKEN", strict=True)
        if self.platform_secret is not None:
            keys(_text(self.platform_secret), of="BRIDGE_PLATFORM_SECRET", strict=True)
        if self.secret_key is not None:
            keys(_text(self.secret_key), of="BRIDGE_SECRET_KEY", strict=True)
        if self.webhook_secrets is not None:
            webhook_keys(_text(self.webhook_secrets), of="BRIDGE_WEBHOOK_SECRETS", strict=True)

    def issuers(self) -> tuple[OidcIssuer, ...]:
        """The issuers of OpenID Connect.

        Raises:
            SettingsInvalid: They are not described as they must be, or the file cannot be read.
        """
        given = json_issuers(self.oidc_issuers or "[]", of="BRIDGE_OIDC_ISSUERS")
        if self.oidc_file is None:
            return given
        try:
            text = self.oidc_file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise SettingsInvalid(f"BRIDGE_OIDC_FILE cannot be read: {error}") from error
        return distinct(given + json_issuers(text, of="BRIDGE_OIDC_FILE"), of="BRIDGE_OIDC_FILE")

    @property
    def user_issuer(self) -> str | None:
        """What tokens of Backstage's users must be from; None if none are accepted."""
        if not self.backstage_url or not self.backstage_user_tokens:
            return None
        return self.backstage_issuer or f"{self.backstage_url.rstrip('/')}/api/auth"

    def postgres(self) -> str | None:
        """The address of the PostgreSQL store, if that is the store.

        Raises:
            SettingsInvalid: Its file cannot be read, or is empty: libpq would take its own default.
        """
        if self.database_url_file is None:
            return self.database_url.get_secret_value() if self.database_url is not None else None
        try:
            address = self.database_url_file.read_text().strip()
        except (OSError, ValueError) as error:
            raise SettingsInvalid(f"BRIDGE_DATABASE_URL_FILE cannot be read: {error}") from error
        if not address:
            raise SettingsInvalid(f"BRIDGE_DATABASE_URL_FILE {self.database_url_file} is empty")
        return address

    @property
    def url(self) -> str:
        """The public address without a slash at its end."""
        return (self.public_url or f"{self.scheme}://{self.host}:{self.port}").rstrip("/")

    @property
    def platform_callback(self) -> str:
        """Where workflows report a namespace; empty if they must not."""
        if self.platform_api_token is None and self.platform_api_token_file is None:
            return ""
        return f"{(self.callback_url or self.url).rstrip('/')}/api/v1/namespaces"


def _text(secret: SecretStr) -> str:
    return secret.get_secret_value()
