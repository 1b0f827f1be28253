"""Everybody who might stand at the door: signed tokens of every kind, right and wrong in every way.

Knows what each issuer signs and which forgeries are known (RFC 8725). Must not know what a caller
may do once inside.
"""

from __future__ import annotations

import base64
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.localargo import serve_app

PLATFORM_SECRET = "a-platform-secret-of-the-tests-that-nobody-else-has"
WEBHOOK_SECRET = b"a-webhook-secret-of-the-tests-of-32-bytes"
WEBHOOK_SECRETS = f"forge=whsec_{base64.b64encode(WEBHOOK_SECRET).decode()}"
HOUR = 3_600
GROUPS = {"user:default/ann": "team-a", "user:default/bob": "platform-admins"}
"""Who is in which group, by the catalog."""
_fresh = itertools.count()

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Sign = Callable[..., str]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A published key and what signs with it."""

    algorithm: str
    kid: str
    private: PrivateKey

    @property
    def jwk(self) -> dict[str, Any]:
        """As a key set shows it."""
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            shown = json.loads(RSAAlgorithm.to_jwk(public))
        else:
            shown = json.loads(ECAlgorithm.to_jwk(public))
        return {**shown, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def pem(self) -> bytes:
        """The public key as text: what the classic forgery takes for a shared secret."""
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token."""
        headers = {"kid": self.kid, **header}
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers=headers)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of signed token: what it says when all is right, and by what it is signed."""

    name: str
    claims: Mapping[str, Any]
    typ: str
    signer: KeyPair | bytes

    def token(self, **changed: Any) -> str:
        """A token with some claims changed; None removes one."""
        return self._signed(self._claims(changed))

    def _claims(self, changed: Mapping[str, Any]) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iat": now, "exp": now + HOUR, **self.claims, **changed}
        return {name: value for name, value in claims.items() if value is not None}

    def _signed(self, claims: Mapping[str, Any], **header: Any) -> str:
        """Signed as it must be; *header* adds to the header."""
        if isinstance(self.signer, bytes):
            return _hmac(claims, {"typ": self.typ, "alg": "HS256", **header}, self.signer, "sha256")
        return self.signer.sign(claims, typ=self.typ, **header)

    def forgeries(self) -> dict[str, Callable[[], str]]:
        """Tokens that are wrong in one way each, by that way; made anew when asked for."""
        now = int(time.time())
        found: dict[str, Callable[[], str]] = {
            "expired": lambda: self.token(iat=now - 2 * HOUR, exp=now - HOUR),
            "without end": lambda: self.token(exp=None),
            "without beginning": lambda: self.token(iat=None),
            "of the future": lambda: self.token(iat=now + HOUR, exp=now + 2 * HOUR),
            "without subject": lambda: self.token(sub=None),
            "alg none": lambda: _with_header(self.token(), alg="none", signed=False),
            "alg None": lambda: _with_header(self.token(), alg="None", signed=False),
            "unsigned": lambda: _with_header(self.token(), signed=False),
            "other algorithm": self._by_other_algorithm,
            "altered": lambda: _altered(self.token(), sub="user:default/root"),
            "own key": lambda: self._signed(self._claims({}), jku="http://127.0.0.1:9/keys"),
            "critical extension": lambda: self._signed(self._claims({}), crit=["exp"]),
        }
        for claim in {"aud", "iss"} & self.claims.keys():
            found[f"wrong {claim}"] = partial(self._with, claim, "somebody-else")
            found[f"without {claim}"] = partial(self._with, claim, None)
        if isinstance(self.signer, KeyPair):
            found["HS/RS confusion"] = self._confused
            found["unknown kid"] = self._by_unknown_key
        else:
            found["other secret"] = partial(self._resigned, b"another-secret-of-the-same-length")
            found["empty secret"] = partial(self._resigned, b"")
        return found

    def _with(self, claim: str, value: str | None) -> str:
        return self.token(**{claim: value})

    def _by_other_algorithm(self) -> str:
        key = self.signer if isinstance(self.signer, bytes) else b"x" * 64
        return _hmac(self._claims({}), {"typ": self.typ, "alg": "HS512"}, key, "sha512")

    def _confused(self) -> str:
        assert isinstance(self.signer, KeyPair)
        header = {"typ": self.typ, "alg": "HS256", "kid": self.signer.kid}
        return _hmac(self._claims({}), header, self.signer.pem, "sha256")

    def _by_unknown_key(self) -> str:
        assert isinstance(self.signer, KeyPair)
        kid = f"unknown-{next(_fresh)}"
        stranger = KeyPair(self.signer.algorithm, kid, self.signer.private)
        return stranger.sign(self._claims({}), typ=self.typ)

    def _resigned(self, secret: bytes) -> str:
        return _hmac(self._claims({}), {"typ": self.typ, "alg": "HS256"}, secret, "sha256")


@dataclass(frozen=True, slots=True)
class Issuers:
    """Who is trusted: a Backstage, with a catalog that knows two groups, and an OpenID issuer."""

    url: str
    plugins: KeyPair
    users: KeyPair
    directory: KeyPair
    fetched: list[str]
    """Key sets that were read, in order, by path."""

    @property
    def plugin(self) -> Kind:
        """Tokens of Backstage's scaffolder, for itself."""
        claims = {"sub": "scaffolder", "aud": "argo-bridge"}
        return Kind("plugin", claims, "vnd.backstage.plugin", self.plugins)

    @property
    def obo(self) -> Kind:
        """Whom a plugin acts for; no proof by itself."""
        return Kind("obo", {"sub": "user:default/ann"}, "vnd.backstage.limited-user", self.users)

    @property
    def user(self) -> Kind:
        """Tokens of Backstage's users."""
        claims = {
            "sub": "user:default/ann",
            "iss": f"{self.url}/api/auth",
            "aud": "backstage",
            "ent": ["user:default/ann"],
        }
        return Kind("backstage user", claims, "vnd.backstage.user", self.users)

    @property
    def oidc(self) -> Kind:
        """Tokens of an OpenID issuer as Entra ID makes them."""
        claims = {
            "sub": "AAAAA-pairwise",
            "preferred_username": "ann@example.com",
            "groups": ["team-a"],
            "roles": [],
            "iss": f"{self.url}/oidc",
            "aud": "argo-bridge",
        }
        return Kind("oidc", claims, "JWT", self.directory)

    @property
    def description(self) -> str:
        """How an operator describes the OpenID issuer."""
        issuer = {
            "name": "entra",
            "issuer": f"{self.url}/oidc",
            "audience": "argo-bridge",
            "userClaim": "preferred_username",
            "userSuffix": "@example.com",
        }
        return json.dumps([issuer])


def platform() -> Kind:
    """Tokens of a platform API."""
    claims = {
        "sub": "ann",
        "email": "ann@example.com",
        "name": "Ann",
        "groups": ["team-a"],
        "roles": [],
        "tenant": "default",
        "iss": "platform-api",
        "aud": "platform-users",
    }
    return Kind("platform", claims, "JWT", PLATFORM_SECRET.encode())


@dataclass(slots=True)
class _Published:
    """What the bridge reads of Backstage, and a note of every reading of keys."""

    plugins: KeyPair = field(
        default_factory=lambda: KeyPair("ES256", "plugins", ec.generate_private_key(ec.SECP256R1()))
    )
    users: KeyPair = field(
        default_factory=lambda: KeyPair("ES256", "users", ec.generate_private_key(ec.SECP256R1()))
    )
    directory: KeyPair = field(
        default_factory=lambda: KeyPair(
            "RS256", "directory", rsa.generate_private_key(65_537, 2_048)
        )
    )
    fetched: list[str] = field(default_factory=list)

    async def keys(self, request: Request) -> Response:
        """A key set."""
        path = request.url.path
        self.fetched.append(path)
        pairs = {"/oidc/keys": self.directory, "/api/auth/.well-known/jwks.json": self.users}
        return JSONResponse({"keys": [pairs.get(path, self.plugins).jwk]})

    async def discovery(self, request: Request) -> Response:
        """The discovery document of the OpenID issuer."""
        issuer = str(request.url).partition("/.well-known")[0]
        return JSONResponse({"issuer": issuer, "jwks_uri": f"{issuer}/keys"})

    async def groups(self, request: Request) -> Response:
        """Entities by their references, with the groups that they are in."""
        refs = (await request.json())["entityRefs"]
        items = [
            {"relations": [{"type": "memberOf", "targetRef": f"group:default/{GROUPS[ref]}"}]}
            if ref in GROUPS
            else None
            for ref in refs
        ]
        return JSONResponse({"items": items})


@asynccontextmanager
async def issuers() -> AsyncIterator[Issuers]:
    """A Backstage that publishes its keys on loopback, and counts who asks for them."""
    published = _Published()
    app = Starlette(
        routes=[
            Route("/oidc/.well-known/openid-configuration", published.discovery),
            Route("/oidc/keys", published.keys),
            Route("/api/auth/.well-known/jwks.json", published.keys),
            Route("/api/catalog/entities/by-refs", published.groups, methods=["POST"]),
            Route("/api/{plugin}/.backstage/auth/v1/jwks.json", published.keys),
        ]
    )
    async with serve_app(app) as url:
        yield Issuers(
            url, published.plugins, published.users, published.directory, published.fetched
        )


def webhook(
    body: bytes, *, at: float | None = None, secret: bytes = WEBHOOK_SECRET, **changed: str
) -> dict[str, str]:
    """Headers of a signed webhook; *at* is when it was signed, *changed* what was put in later."""
    signed_id, timestamp = f"msg_{next(_fresh)}", str(int(time.time() if at is None else at))
    content = b".".join((signed_id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.digest(secret, content, "sha256")).decode()
    headers = {
        "webhook-id": signed_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }
    return headers | {f"webhook-{name}": value for name, value in changed.items()}


# --- by hand, because no library signs what is wrong ---------------------------------------------


def _with_header(token: str, *, signed: bool = True, **changed: Any) -> str:
    header, payload, signature = token.split(".")
    other = {**json.loads(_decoded(header)), **changed}
    return f"{_encoded(json.dumps(other).encode())}.{payload}.{signature if signed else ''}"


def _altered(token: str, **claims: Any) -> str:
    header, payload, signature = token.split(".")
    other = {**json.loads(_decoded(payload)), **claims}
    return f"{header}.{_encoded(json.dumps(other).encode())}.{signature}"


def _hmac(claims: Mapping[str, Any], header: Mapping[str, Any], key: bytes, digest: str) -> str:
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{_encoded(hmac.digest(key, signed.encode(), digest))}"


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
