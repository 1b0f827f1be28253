"""Keys and tokens as a Backstage backend makes them (claims measured on a real one)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm

PLUGIN_KEYS = "/api/scaffolder/.backstage/auth/v1/jwks.json"
USER_KEYS = "/api/auth/.well-known/jwks.json"
PLUGIN_TYPE = "vnd.backstage.plugin"
USER_TYPE = "vnd.backstage.limited-user"


@dataclass(frozen=True, slots=True)
class Signer:
    """An ES256 key with an id."""

    kid: str
    private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as Backstage publishes it."""
        public = json.loads(ECAlgorithm.to_jwk(self.private.public_key()))
        return {**public, "kid": self.kid, "alg": "ES256", "use": "sig"}

    @property
    def pem(self) -> bytes:
        """The public key as text."""
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, claims: Mapping[str, Any], *, typ: str, **header: Any) -> str:
        """A token; *header* replaces parts of the header."""
        headers = {"typ": typ, "kid": self.kid, **header}
        return jwt.encode(dict(claims), self.private, algorithm="ES256", headers=headers)


@dataclass(frozen=True, slots=True)
class Backstage:
    """The keys of one backend, and a KeySource of them that notes what it was asked."""

    plugin: Signer = field(default_factory=lambda: Signer("plugin-key"))
    users: Signer = field(default_factory=lambda: Signer("user-key"))
    extra: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def key(self, path: str, *, kid: str) -> Mapping[str, Any] | None:
        """See KeySource."""
        self.asked.append((path, kid))
        published = {PLUGIN_KEYS: [self.plugin.jwk], USER_KEYS: [self.users.jwk]}
        keys = [*published.get(path, []), *self.extra.get(path, [])]
        return next((key for key in keys if key["kid"] == kid), None)

    def user_token(self, *, typ: str = USER_TYPE, **claims: Any) -> str:
        """An ``obo`` claim; None removes a claim."""
        return self.users.sign(_claims({"sub": "user:default/ann"}, claims), typ=typ)

    def plugin_token(self, *, typ: str = PLUGIN_TYPE, **claims: Any) -> str:
        """A plugin token; None removes a claim."""
        plain = {"sub": "scaffolder", "aud": "argo-bridge"}
        return self.plugin.sign(_claims(plain, claims), typ=typ)


def _claims(plain: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    claims = {**plain, "iat": now, "exp": now + 3_600, **changed}
    return {name: value for name, value in claims.items() if value is not None}


def unsigned(token: str, *, alg: str = "none") -> str:
    """*token* with another algorithm in its header and no signature."""
    header, payload, _ = token.split(".")
    changed = {**json.loads(_decoded(header)), "alg": alg}
    return f"{_encoded(json.dumps(changed).encode())}.{payload}."


def altered(token: str, **claims: Any) -> str:
    """*token* with other claims under its old signature."""
    header, payload, signature = token.split(".")
    changed = {**json.loads(_decoded(payload)), **claims}
    return f"{header}.{_encoded(json.dumps(changed).encode())}.{signature}"


def signed_with_public_key(signer: Signer, claims: Mapping[str, Any], *, typ: str) -> str:
    """The classic forgery: HS256 with the text of the public key as the secret."""
    header = {"typ": typ, "alg": "HS256", "kid": signer.kid}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, dict(claims)))
    mac = hmac.new(signer.pem, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encoded(mac)}"


def signed_text(header: str | bytes, claims: str | bytes, *, secret: bytes = b"") -> str:
    """An HS256 token of any two texts, JSON or not."""
    parts = [part.encode() if isinstance(part, str) else part for part in (header, claims)]
    signed = ".".join(_encoded(part) for part in parts)
    return f"{signed}.{_encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
