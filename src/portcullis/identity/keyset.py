"""The public keys of other issuers: JSON Web Key Sets (RFC 7517) and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MAX_DOCUMENT: Final = 262_144
"""Longest key set that is read, in bytes."""
MAX_KEYS: Final = 100
_RSA_BITS: Final = range(2048, 8193)
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class VerificationKey(msgspec.Struct, frozen=True):
    """A key and the signature algorithms (RFC 7518, RFC 8037) that it may verify."""

    key: PublicKey
    algorithms: frozenset[str]


KeySet: TypeAlias = Mapping[str, VerificationKey]
"""Keys by their ``kid``."""


class KeysUnavailableError(Exception):
    """An issuer's keys cannot be had; the text says why and holds nothing secret."""


class KeySource(Protocol):
    """Gives an issuer's keys.

    ``keys`` returns the newest set known, and looks for a newer one when ``kid`` is not in it,
    within bounds; None is for a token that names no key. Raises KeysUnavailableError.
    """

    async def keys(self, kid: str | None) -> KeySet: ...  # noqa: D102 - see above


def parse(document: bytes) -> KeySet:
    """Read a key set. ValueError for what is none, is too large, or has a ``kid`` twice.

    Keys that cannot verify a signature of ours are left out (RFC 7517 section 5): symmetric,
    private and weak ones, other curves, ``use`` or ``key_ops`` for something else, no ``kid``.
    """
    if len(document) > MAX_DOCUMENT:
        raise ValueError(f"a key set of more than {MAX_DOCUMENT} bytes")
    try:
        members = msgspec.json.decode(document, type=dict[str, Any])["keys"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        raise ValueError("not a JSON Web Key Set") from None
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise ValueError(f"not a JSON Web Key Set of at most {MAX_KEYS} keys")
    found: dict[str, VerificationKey] = {}
    for member in members:
        if not isinstance(member, dict):
            raise ValueError("not a JSON Web Key Set")  # noqa: TRY004 - a bad value, not a bug
        key, kid = _key(member), member.get("kid")
        if key is None or not isinstance(kid, str):
            continue
        if kid in found:
            raise ValueError("two keys of one kid")
        found[kid] = key
    return found


def _key(member: dict[str, Any]) -> VerificationKey | None:
    operations = member.get("key_ops", ["verify"])
    if (
        member.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
        or not _PRIVATE.isdisjoint(member)
    ):
        return None
    kind = member.get("kty")
    try:
        key: Any
        if kind == "RSA":
            key = RSAAlgorithm.from_jwk(member)
        elif kind == "EC":
            key = ECAlgorithm.from_jwk(member)
        elif kind == "OKP":
            key = OKPAlgorithm.from_jwk(member)
        else:
            return None
    except (jwt.InvalidKeyError, ValueError, TypeError):
        return None
    algorithms = _algorithms(key)
    if "alg" in member:
        algorithms &= {str(member["alg"])}
    return VerificationKey(key, algorithms) if algorithms else None


def _algorithms(key: object) -> frozenset[str]:
    if isinstance(key, RSAPublicKey) and key.key_size in _RSA_BITS:
        return frozenset({"RS256", "PS256"})
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return frozenset({"ES256"})
    if isinstance(key, Ed25519PublicKey):
        return frozenset({"EdDSA"})
    return frozenset()
