"""DPoP (RFC 9449): a proof, made for one request, that the caller holds a private key."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from portcullis.core.errors import Problem
from portcullis.core.ports import Once
from portcullis.identity import jws

ALGORITHMS: Final = ("ES256", "EdDSA")
WINDOW: Final = 60
"""How long a proof is good for, in seconds."""
MAX_PROOF: Final = 4096
"""Longest proof that is looked at, in characters."""

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_COORDINATE: Final = 32
_SIGNATURE: Final = 64
_PORTS: Final = {"http": 80, "https": 443}
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class _Claims(msgspec.Struct, frozen=True):
    """Section 4.2. Claims beyond these are of no concern to us."""

    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    htm: str
    htu: str
    iat: float
    ath: str | None = None


def verify(
    proof: str,
    *,
    method: str,
    url: str,
    token: str | None,
    now: float,
    once: Once,
    skew: float,
    jkt: str | None = None,
    spend: bool = True,
) -> str:
    """The thumbprint (RFC 7638) of the key that signed a proof; checks all of section 4.3.

    ``url`` is the target as our listener knows it; query and fragment do not count. With a
    ``token`` the proof must name its hash; ``jkt`` is the key that the token is bound to.

    Raises Problem PC2042 (malformed, or another algorithm), PC2044 (method or URL), PC2045 (not of
    now, or made before this process began), PC2048 (another token), PC2047 (another key), PC2043
    (signature), PC2046 (used before, or no more room to remember). It is spent only when all
    else is right, and not at all unless ``spend``.
    """
    parts = jws.split(proof, code="PC2042", most=MAX_PROOF)
    if parts.header.get("typ") != "dpop+jwt":
        raise Problem("PC2042", "typ must be dpop+jwt")
    if parts.header.get("alg") not in ALGORITHMS:
        raise Problem("PC2042", "a proof is signed with ES256 or EdDSA")
    key, thumbprint = _public(parts.header.get("jwk"), parts.header["alg"])
    try:
        claims = msgspec.convert(parts.payload, _Claims)
    except msgspec.ValidationError:
        raise Problem("PC2042", "jti, htm, htu or iat is missing or not of its type") from None
    _hold(claims, method, url, now, skew, once.since)
    if token is not None and claims.ath != access_token_hash(token):
        raise Problem("PC2048", "ath is not the hash of the token shown")
    if jkt is not None and thumbprint != jkt:
        raise Problem("PC2047", "the token is bound to another key")
    if not _signed(key, parts):
        raise Problem("PC2043", "the signature is not that of the key in the proof")
    spent = hashlib.sha256(f"{thumbprint} {claims.jti}".encode()).digest()
    if spend and not once.spend(spent, claims.iat + WINDOW + skew + 1):
        raise used()
    return thumbprint


def used() -> Problem:
    """Problem PC2046."""
    return Problem("PC2046", "the proof has been used, or too many are in use")


def _hold(claims: _Claims, method: str, url: str, now: float, skew: float, since: float) -> None:
    target = normalised(url)
    if claims.htm != method or target is None or normalised(claims.htu) != target:
        raise Problem("PC2044", "the proof names another method or URL")
    if not now - WINDOW - skew <= claims.iat <= now + skew:
        raise Problem("PC2045", f"iat is not within {WINDOW} seconds of now")
    if claims.iat < since:
        raise Problem("PC2045", "the proof was made before this gate was started")


def access_token_hash(token: str) -> str:
    """The ``ath`` of a token (section 4.2)."""
    return jws.encoded(hashlib.sha256(token.encode()).digest())


def normalised(url: str) -> tuple[str, str, int | None, str] | None:
    """Scheme, host, port and path for comparison (RFC 3986 sections 6.2.2 and 6.2.3).

    None for what is not an absolute http or https URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host or "@" in parts.netloc:
        return None
    path = _ESCAPE.sub(_decode_unreserved, parts.path) or "/"
    return scheme, host, _PORTS[scheme] if port is None else port, path


def _decode_unreserved(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()


def _public(jwk: Any, algorithm: str) -> tuple[PublicKey, str]:
    """The public key of a JWK of the algorithm's own kind, and its thumbprint (RFC 7638)."""
    if not isinstance(jwk, dict) or not _PRIVATE.isdisjoint(jwk):
        raise Problem("PC2042", "jwk must be a public key")
    curve, kind = ("P-256", "EC") if algorithm == "ES256" else ("Ed25519", "OKP")
    if (jwk.get("kty"), jwk.get("crv")) != (kind, curve) or jwk.get("alg", algorithm) != algorithm:
        raise Problem("PC2042", f"jwk is not a key for {algorithm}")
    try:
        x = _coordinate(jwk, "x")
        if kind == "OKP":
            key: PublicKey = ed25519.Ed25519PublicKey.from_public_bytes(x)
            text = f'{{"crv":"Ed25519","kty":"OKP","x":"{jwk["x"]}"}}'
        else:
            point = b"\x04" + x + _coordinate(jwk, "y")
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            text = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    except ValueError:
        raise Problem("PC2042", "jwk is not a point on its curve") from None
    return key, jws.encoded(hashlib.sha256(text.encode()).digest())


def _coordinate(jwk: dict[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    raw = jws.decoded(text) if isinstance(text, str) and text.isascii() else b""
    if len(raw) != _COORDINATE:
        raise ValueError(name)
    return raw


def _signed(key: PublicKey, parts: jws.Parts) -> bool:
    signature = parts.signature
    if len(signature) != _SIGNATURE:
        return False
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, parts.signed)
        else:
            r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            key.verify(encode_dss_signature(r, s), parts.signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
