"""A token issuer for tests: its keys, their key set, tokens as it would sign them."""

from __future__ import annotations

import json
import secrets
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from portcullis.identity.keyset import KeySet, parse

_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
"""Takes a tenth of a second to make, so all issuers of a test run have the same one."""


class Issuer:
    """Has one key for each algorithm, with the algorithm's name as its ``kid``."""

    def __init__(self, url: str = "https://issuer.test") -> None:
        self.url = url
        self.asked = 0
        self.private: dict[str, Any] = {
            "RS256": _RSA,
            "PS256": _RSA,
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }

    def jwks(self, **more: Any) -> bytes:
        """The key set; ``more`` are further members of every key."""
        keys = [
            json.loads(get_default_algorithms()[alg].to_jwk(key.public_key()))
            | {"kid": alg, "use": "sig", "alg": alg}
            | more
            for alg, key in self.private.items()
        ]
        return json.dumps({"keys": keys}).encode()

    async def keys(self, kid: str | None) -> KeySet:
        """It is a ``KeySource`` itself."""
        self.asked += 1
        return parse(self.jwks())

    def token(
        self,
        claims: dict[str, Any],
        alg: str = "RS256",
        *,
        headers: dict[str, Any] | None = None,
        key: Any = None,
    ) -> str:
        return jwt.encode(
            claims,
            key or self.private.get(alg) or secrets.token_bytes(32),
            alg,
            headers={
                name: value
                for name, value in ({"kid": alg} | (headers or {})).items()
                if value is not None
            },
        )
