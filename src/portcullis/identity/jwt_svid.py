"""JWT-SVIDs (JWT-SVID.md), ours and those of federated trust domains, as whoever gets one."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from jwt.algorithms import get_default_algorithms

from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId, parse
from portcullis.identity import jws
from portcullis.identity.bundle import PublicKey
from portcullis.identity.trust import Trust

MAX_TOKEN: Final = 8192
"""Longest token that is looked at, in characters."""
MAX_LIFETIME: Final = 3600
"""Longest life of a JWT-SVID that we accept, in seconds."""

_JTI: Final = re.compile(r"[!-~]{1,64}")
_TYPES: Final = ("JWT", "JOSE")
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EC: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_ALGORITHMS: Final = _RSA | frozenset(_EC.values())
_VERIFIERS: Final = {
    name: each for name, each in get_default_algorithms().items() if name in _ALGORITHMS
}


class JwtSubject(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a JWT-SVID stands for.

    ``fingerprint`` is the SHA-256 (hex) of what was signed; ``credential``, which may stand in
    the log, is its ``jti`` or else the fingerprint. ``issued_at`` is 0 when it does not say.
    ``claims`` are all its claims, verified.
    """

    id: SpiffeId
    credential: str
    fingerprint: str
    issued_at: float
    expires_at: float
    claims: dict[str, Any]


class _Claims(msgspec.Struct, frozen=True):
    """The claims of section 3. Those beyond are not ours to judge."""

    sub: str
    aud: str | tuple[str, ...]
    exp: float
    iat: float | None = None
    nbf: float | None = None
    jti: str = ""


def verify(token: str, *, audience: str, trust: Trust, now: float, skew: float) -> JwtSubject:
    """Verify a JWT-SVID for ``audience`` with the keys of the trust domain of its own subject.

    Raises Problem PC2002 (malformed), PC2030 (an algorithm that a JWT-SVID or this key may not
    have), PC2035 (``typ`` of another kind), PC2024 (``sub``), PC2027 (unknown trust domain),
    PC2031 (key or signature), PC2032 (audience), PC2003 (expired), PC2037 (valid for more than
    an hour), PC2034 (not valid yet).
    """
    parts = jws.split(token, code="PC2002", most=MAX_TOKEN)
    algorithm, kid = parts.header.get("alg"), parts.header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise Problem("PC2030", "a JWT-SVID is signed with ES, RS or PS")
    if parts.header.get("typ", "JWT") not in _TYPES:
        raise Problem("PC2035", "typ is not that of a JWT-SVID")
    try:
        claims = msgspec.convert(parts.payload, _Claims)
    except msgspec.ValidationError:
        raise Problem("PC2002", "sub, aud or exp is missing, or a claim not of its type") from None
    subject = parse(claims.sub)
    bundle = trust.bundle(subject.trust_domain)
    if bundle is None:
        raise Problem("PC2027", "the trust domain of sub is neither ours nor federated")
    key = bundle.jwt.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise Problem("PC2031", "kid names no key of the trust domain of sub")
    _signed(parts, algorithm, key)
    _hold(claims, audience, now, skew)
    fingerprint = hashlib.sha256(parts.signed).hexdigest()
    return JwtSubject(
        id=subject,
        credential=claims.jti if _JTI.fullmatch(claims.jti) else fingerprint,
        fingerprint=fingerprint,
        issued_at=claims.iat or 0.0,
        expires_at=claims.exp,
        claims=parts.payload,
    )


def _signed(parts: jws.Parts, algorithm: str, key: PublicKey) -> None:
    """The key's own type says what it may verify, not the token."""
    allowed = {_EC.get(key.curve.name)} if isinstance(key, EllipticCurvePublicKey) else _RSA
    if algorithm not in allowed:
        raise Problem("PC2030", "alg does not fit the key")
    try:
        good = _VERIFIERS[algorithm].verify(parts.signed, key, parts.signature)
    except (jwt.PyJWTError, ValueError):
        good = False
    if not good:
        raise Problem("PC2031", "the signature is wrong")


def _hold(claims: _Claims, audience: str, now: float, skew: float) -> None:
    audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    if audience not in audiences:
        raise Problem("PC2032", "the token is for another audience")
    if now >= claims.exp:
        raise Problem("PC2003", "the token has expired")
    begins = [each for each in (claims.iat, claims.nbf) if each is not None]
    if begins and max(begins) > now + skew:
        raise Problem("PC2034", "iat or nbf is yet to come")
    if claims.exp - min([now, *begins]) > MAX_LIFETIME + skew:
        raise Problem("PC2037", f"the token is valid for more than {MAX_LIFETIME} seconds")
