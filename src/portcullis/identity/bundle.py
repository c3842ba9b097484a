"""Trust bundles: the keys that speak for a trust domain (SPIFFE_Trust_Domain_and_Bundle.md)."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from portcullis.core.errors import Problem
from portcullis.wire.json import decode as decode_json
from portcullis.wire.json import encode as encode_json

PublicKey: TypeAlias = EllipticCurvePublicKey | RSAPublicKey
"""What a JWT-SVID may be signed with (JWT-SVID.md section 2.2: RS, ES and PS only)."""

DEFAULT_REFRESH: Final = 300
"""Seconds between two looks at a bundle that says nothing of it (SPIFFE_Federation.md)."""
MAX_DOCUMENT: Final = 2**20
MAX_KEYS: Final = 256
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_CURVES: Final = {"P-256": "secp256r1", "P-384": "secp384r1", "P-521": "secp521r1"}


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """The authorities of one trust domain.

    ``x509`` are the DER certificates of its authorities, ``jwt`` its JWT-SVID keys by ``kid``.
    ``sequence`` grows with every change (0: the domain does not count), ``refresh_hint`` is how
    often to look again, in seconds.
    """

    trust_domain: str
    x509: tuple[bytes, ...]
    jwt: Mapping[str, PublicKey]
    sequence: int
    refresh_hint: int

    def anchors(self) -> frozenset[str]:
        """The authorities' SHA-256 in hex."""
        return frozenset(hashlib.sha256(each).hexdigest() for each in self.x509)

    def same_keys(self, other: Bundle) -> bool:
        """Whether the other holds the same keys, in whatever order."""
        return set(self.x509) == set(other.x509) and _plain(self.jwt) == _plain(other.jwt)


def encode(bundle: Bundle) -> bytes:
    """The SPIFFE bundle document: a JWK set with sequence number and refresh hint."""
    keys = [_authority_jwk(each) for each in bundle.x509] + _jwt_jwks(bundle)
    return encode_json(
        {
            "keys": keys,
            "spiffe_sequence": bundle.sequence,
            "spiffe_refresh_hint": bundle.refresh_hint,
        }
    )


def encode_jwt(bundle: Bundle) -> bytes:
    """The JWK set of the JWT-SVID keys alone, as the Workload API hands it out (section 6.2.2)."""
    return encode_json({"keys": _jwt_jwks(bundle)})


def decode(trust_domain: str, document: bytes) -> Bundle:
    """Read the bundle of ``trust_domain``; keys of an unknown type or use are passed over.

    Raises Problem PC7009 for anything that is not a bundle document, too large a one, an
    authority that is not one, a weak key, or the same ``kid`` twice.
    """
    if len(document) > MAX_DOCUMENT:
        raise Problem("PC7009", f"the bundle document has more than {MAX_DOCUMENT} bytes")
    try:
        value = decode_json(document)
    except Problem as problem:
        raise Problem("PC7009", f"the bundle is not JSON that we read: {problem.detail}") from None
    if not isinstance(value, dict) or not isinstance(value.get("keys"), list):
        raise Problem("PC7009", "the bundle has no array `keys`")
    keys: list[Any] = value["keys"]
    if len(keys) > MAX_KEYS:
        raise Problem("PC7009", f"the bundle has more than {MAX_KEYS} keys")
    authorities: dict[bytes, None] = {}
    jwt: dict[str, PublicKey] = {}
    for number, key in enumerate(keys):
        if not isinstance(key, dict):
            raise Problem("PC7009", f"keys[{number}] is not an object")
        if key.get("use") == "x509-svid" and key.get("x5c"):
            authorities[_authority(number, key["x5c"])] = None
        elif key.get("use") == "jwt-svid" and key.get("kid"):
            _add_jwt_key(jwt, number, key)
    return Bundle(
        trust_domain=trust_domain,
        x509=tuple(authorities),
        jwt=jwt,
        sequence=_count(value, "spiffe_sequence", 0),
        refresh_hint=_count(value, "spiffe_refresh_hint", DEFAULT_REFRESH),
    )


def _add_jwt_key(jwt: dict[str, PublicKey], number: int, key: dict[str, Any]) -> None:
    public = _jwt_key(number, key)
    if key["kid"] in jwt:
        raise Problem("PC7009", f"keys[{number}] has a kid that another one has")
    if public is not None:
        jwt[key["kid"]] = public


def _count(value: dict[str, Any], name: str, default: int) -> int:
    found = value.get(name, default)
    if type(found) is not int or found < 0:
        raise Problem("PC7009", f"{name} is not a whole number from 0")
    return found


def _authority(number: int, x5c: Any) -> bytes:
    """The DER of the first certificate (X509-SVID.md section 6.2), which must be an authority."""
    if not isinstance(x5c, list) or not isinstance(x5c[0], str):
        raise Problem("PC7009", f"keys[{number}].x5c is not an array of texts")
    try:
        der = base64.b64decode(x5c[0], validate=True)
        found = x509.load_der_x509_certificate(der)
        constraints = found.extensions.get_extension_for_class(x509.BasicConstraints).value
        public, _ = found.public_key(), found.subject.rdns
        # one that OpenSSL cannot read would leave TLS without any authority
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
    except x509.ExtensionNotFound:
        raise Problem("PC7009", f"keys[{number}].x5c is no authority's certificate") from None
    except Exception:  # noqa: BLE001 - hostile DER: whatever the parser says, it is no bundle
        raise Problem("PC7009", f"keys[{number}].x5c is not a certificate") from None
    if not constraints.ca:
        raise Problem("PC7009", f"keys[{number}].x5c is no authority's certificate")
    if isinstance(public, RSAPublicKey):
        _refuse_weak(number, public)
    return der


def _jwt_key(number: int, key: dict[str, Any]) -> PublicKey | None:
    """A JWT-SVID key, or None for a type that is not for JWT-SVIDs."""
    kind, curve = key.get("kty"), key.get("crv")
    if not isinstance(key["kid"], str) or not isinstance(kind, str):
        raise Problem("PC7009", f"keys[{number}].kid or kty is not a text")
    public: Any
    try:
        if kind == "EC":
            if not isinstance(curve, str) or curve not in _CURVES:
                return None
            public = ECAlgorithm.from_jwk({name: key[name] for name in ("kty", "crv", "x", "y")})
        elif kind == "RSA":
            public = RSAAlgorithm.from_jwk({name: key[name] for name in ("kty", "n", "e")})
            _refuse_weak(number, public)
        else:
            return None
    except Problem:
        raise
    except Exception as error:  # noqa: BLE001 - hostile numbers: the library raises many types
        known = isinstance(error, (InvalidKeyError, ValueError, KeyError))
        detail = "is not a public key" if known else "cannot be read"
        raise Problem("PC7009", f"keys[{number}] {detail}") from None
    checked: PublicKey = public
    return checked


def _refuse_weak(number: int, key: RSAPublicKey) -> None:
    if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        raise Problem("PC7009", f"keys[{number}] is not RSA of 2048 to 8192 bits")


def _jwt_jwks(bundle: Bundle) -> list[dict[str, Any]]:
    return [
        {"use": "jwt-svid", "kid": kid, **_numbers(key)} for kid, key in sorted(bundle.jwt.items())
    ]


def _authority_jwk(der: bytes) -> dict[str, Any]:
    """No ``kid``: X509-SVID.md section 6.1."""
    key = x509.load_der_x509_certificate(der).public_key()
    return {"use": "x509-svid", **_numbers(key), "x5c": [base64.b64encode(der).decode()]}


def _numbers(key: Any) -> dict[str, str]:
    """A public key's own members (RFC 7518 section 6, RFC 8037 section 2)."""
    if isinstance(key, EllipticCurvePublicKey):
        size = (key.curve.key_size + 7) // 8
        numbers = key.public_numbers()
        name = next((name for name, curve in _CURVES.items() if curve == key.curve.name), None)
        if name is None:
            raise Problem("PC7009", "an authority's key is on a curve that no JWK names")
        return {
            "kty": "EC",
            "crv": name,
            "x": _base64url(numbers.x.to_bytes(size)),
            "y": _base64url(numbers.y.to_bytes(size)),
        }
    if isinstance(key, RSAPublicKey):
        rsa = key.public_numbers()
        return {"kty": "RSA", "n": _integer(rsa.n), "e": _integer(rsa.e)}
    if isinstance(key, Ed25519PublicKey):
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(raw)}
    raise Problem("PC7009", "an authority's key is of a type that no JWK names")


def _plain(keys: Mapping[str, PublicKey]) -> dict[str, bytes]:
    info = PublicFormat.SubjectPublicKeyInfo
    return {kid: key.public_bytes(Encoding.DER, info) for kid, key in keys.items()}


def _integer(number: int) -> str:
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
