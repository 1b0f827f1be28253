"""Signed tokens (JSON Web Tokens, RFC 7519) in general: read, chosen by, and checked.

Knows what every such token must have and what none may have (RFC 8725). Must not know any one
issuer. Sentences never repeat what an unverified token claims.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from bridge.domain.callers import Caller
from bridge.domain.errors import Unauthenticated

LARGEST = 16 * 1024
"""Characters of a token that are looked at at all; servers commonly allow 8 kB for a header."""
LEEWAY_SECONDS = 10
_LONGEST_KID = 256
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_KEYS_BY_SENDER = ("jku", "jwk", "x5u", "crit", "b64")
"""Headers by which a sender would say how its own token is to be verified."""
_UNSIGNED = "The token's signature or form is not right."
_SENTENCES: Mapping[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "The token has expired: get a new one.",
    jwt.ImmatureSignatureError: "The token is not valid yet: compare the clocks.",
    jwt.InvalidAudienceError: "The token is for somebody else (aud).",
    jwt.InvalidIssuerError: "The token is from somebody else (iss).",
    jwt.MissingRequiredClaimError: "The token lacks a claim: exp, iat, sub, aud and iss must be.",
}


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token as it was sent. It may be used to choose who verifies it, and for nothing else."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def kid(self) -> str:
        """The id of the key, to be looked up and for nothing else.

        Raises:
            Unauthenticated: There is none, or it is no id.
        """
        kid = self.header.get("kid")
        if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_KID:
            raise Unauthenticated("The token does not say by which key it is signed (kid).")
        return kid


class TokenVerifier(Protocol):
    """One kind of signed token."""

    def takes(self, token: Unverified) -> bool:
        """Whether a token says that it is of this kind: nobody else will look at it then."""
        ...

    async def verify(self, token: Unverified) -> Caller:
        """Who it is for.

        Raises:
            Unauthenticated: It is not right in every part.
            IssuerUnavailable: The keys that would tell cannot be read now.
        """
        ...


def read(text: str) -> Unverified | None:
    """The parts of a token, or None if it is none."""
    if len(text) > LARGEST or _FORM.fullmatch(text) is None:
        return None
    header, claims, _ = text.split(".")
    parts = [_object(header), _object(claims)]
    if parts[0] is None or parts[1] is None:
        return None
    return Unverified(text, parts[0], parts[1])


def _object(segment: str) -> dict[str, Any] | None:
    try:
        value = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def checked(
    token: Unverified,
    keys: Sequence[jwt.PyJWK | bytes],
    *,
    algorithms: Sequence[str],
    audience: str | Sequence[str] | None,
    issuer: str | None,
) -> Mapping[str, Any]:
    """The claims of a token that one of *keys* signed and that is valid now.

    ``exp``, ``iat`` and ``sub`` must be there, and ``aud`` and ``iss`` where one is asked for.

    Raises:
        Unauthenticated: It is not right in every part.
    """
    expect_header(token, algorithms=algorithms)
    wanted = ["exp", "iat", "sub", *(["aud"] if audience else []), *(["iss"] if issuer else [])]
    failure: jwt.PyJWTError | None = None
    for key in keys:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token.text,
                key,
                algorithms=list(algorithms),
                audience=audience,
                issuer=issuer,
                leeway=LEEWAY_SECONDS,
                options={
                    "require": wanted,
                    "verify_aud": audience is not None,
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.InvalidSignatureError as error:
            failure = error  # another key may have signed it
        except jwt.PyJWTError as error:
            raise Unauthenticated(_sentence(error)) from error
        else:
            return claims
    raise Unauthenticated(_UNSIGNED) from failure


def public_key(jwk: Mapping[str, Any], *, algorithm: str) -> jwt.PyJWK:
    """A published key, for one algorithm.

    Raises:
        Unauthenticated: It is a key for something else: a set may hold keys of other kinds.
    """
    other = jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig"
    if other or jwk.get("kty") == "oct":
        raise Unauthenticated(_UNSIGNED)
    try:
        return jwt.PyJWK(dict(jwk), algorithm=algorithm)
    except jwt.PyJWTError as error:
        raise Unauthenticated(_UNSIGNED) from error


def expect_header(token: Unverified, *, algorithms: Sequence[str]) -> None:
    """Refuse by the header what no key is needed for.

    Raises:
        Unauthenticated: Another algorithm, or a token that would choose its own key.
    """
    if token.header.get("alg") not in algorithms:
        raise Unauthenticated("The token is not signed as its kind must be (alg).")
    if any(name in token.header for name in _KEYS_BY_SENDER):
        raise Unauthenticated("The token says itself how to verify it; that is not accepted.")


def _sentence(error: jwt.PyJWTError) -> str:
    return _SENTENCES.get(type(error), _UNSIGNED)
