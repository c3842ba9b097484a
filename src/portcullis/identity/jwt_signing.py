"""JWT-SVIDs as we sign them (JWT-SVID.md): ES256, a subject, an audience, minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId

_ALGORITHM: Final = "ES256"


class JwtSvid(msgspec.Struct, frozen=True, kw_only=True):
    """A signed token. ``credential`` is its ``jti``; times are seconds since the epoch."""

    id: SpiffeId
    token: str
    credential: str
    issued_at: float
    expires_at: float


class JwtSigner:
    """Signs with one key. Safe to share between threads."""

    def __init__(self, kid: str, key: EllipticCurvePrivateKey) -> None:
        self._key = key
        self._headers = {"kid": kid, "typ": "JWT"}

    def sign(
        self,
        id: SpiffeId,  # noqa: A002 - the field's name
        audience: Sequence[str],
        *,
        now: float,
        ttl: float,
        credential: str,
    ) -> JwtSvid:
        """A token for ``audience`` of ``ttl`` seconds. Raises Problem PC2032 without audience."""
        if not audience or not all(audience):
            raise Problem("PC2032", "a JWT-SVID names the audience that it is for")
        issued, expires = int(now), int(now + ttl)
        claims = {
            "sub": str(id),
            "aud": list(audience),
            "exp": expires,
            "iat": issued,
            "jti": credential,
        }
        token = jwt.encode(claims, self._key, _ALGORITHM, self._headers)
        return JwtSvid(
            id=id,
            token=token,
            credential=credential,
            issued_at=now,
            expires_at=float(expires),
        )
