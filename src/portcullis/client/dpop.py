"""DPoP proofs (RFC 9449): a key in memory that signs each request."""

from __future__ import annotations

import base64
import hashlib
import secrets

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from portcullis.core.ports import Clock


class Prover:
    """Holds a P-256 key in memory and makes the proofs of its possession."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        self._jwk = {
            "kty": "EC",
            "crv": "P-256",
            "x": _base64url(numbers.x.to_bytes(32, "big")),
            "y": _base64url(numbers.y.to_bytes(32, "big")),
        }

    def proof(self, method: str, url: str, token: str = "") -> str:
        """A proof for one request (section 4.2); ``url`` is without query and fragment."""
        claims: dict[str, str | int] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": int(self._clock.now()),
        }
        if token:
            claims["ath"] = _base64url(hashlib.sha256(token.encode("ascii")).digest())
        return jwt.encode(claims, self._key, "ES256", {"typ": "dpop+jwt", "jwk": self._jwk})


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")
