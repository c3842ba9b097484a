"""Signatures of bundles, as OPA makes and verifies them.

``.signatures.json`` holds one JWT whose payload lists each file of the bundle with its hash. Of
JSON documents (``data.json``, ``.manifest``) the hash is over their parsed form with sorted keys,
of everything else over the bytes. See "Bundle Signature" in OPA's manual.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Final

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from portcullis.core.errors import Problem

SIGNATURES: Final = ".signatures.json"
MANIFEST: Final = ".manifest"
DATA: Final = "data.json"
_STRUCTURED: Final = frozenset({DATA, "data.yaml", "data.yml", MANIFEST, SIGNATURES})
_ALGORITHM: Final = "SHA-256"
_BITS: Final = 2048

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class Hashed(msgspec.Struct, frozen=True):
    """A file of a bundle in a signature's payload."""

    name: str
    hash: str
    algorithm: str


class _Payload(msgspec.Struct):
    files: tuple[Hashed, ...]
    scope: str = ""


class _Signatures(msgspec.Struct):
    signatures: tuple[str, ...]


_payload: Final = msgspec.json.Decoder(_Payload).decode
_signatures: Final = msgspec.json.Decoder(_Signatures).decode


def sign(files: dict[str, bytes], key: Private, now: int) -> bytes:
    """The text of ``.signatures.json`` for these files, ES256 or RS256 by the key."""
    listed = [
        {"name": name, "hash": digest(name, body), "algorithm": _ALGORITHM}
        for name, body in sorted(files.items())
    ]
    public = key.public_key()
    made = jwt.encode(
        {"files": listed, "iat": now},
        key,
        algorithm=algorithm(public),
        headers={"kid": key_id(public)},
    )
    return msgspec.json.encode({"signatures": [made]})


def verify(files: dict[str, bytes], key: Public, wanted: str = "") -> None:
    """Raise Problem PC7037 unless ``files`` are signed by ``key``: all of them, and no others.

    ``wanted`` is the key's id that the signature has to name, if any.
    """
    signed = files.get(SIGNATURES)
    if signed is None:
        raise Problem("PC7037", "the bundle is not signed")
    try:
        tokens = _signatures(signed).signatures
    except msgspec.MsgspecError:
        raise Problem("PC7037", f"{SIGNATURES} is not as OPA writes it") from None
    if len(tokens) != 1:
        raise Problem("PC7037", f"{SIGNATURES} has {len(tokens)} signatures, and not one")
    listed = {one.name: one for one in _verified(tokens[0], key, wanted).files}
    present = {name for name in files if name != SIGNATURES}
    if listed.keys() != present:
        odd = len(listed.keys() ^ present)
        raise Problem("PC7037", f"{odd} files are in the bundle or in its signature only")
    for name, one in listed.items():
        if one.algorithm != _ALGORITHM or not hmac.compare_digest(
            one.hash.lower().encode(), digest(name, files[name]).encode()
        ):
            raise Problem("PC7037", "a file of the bundle is not the one that was signed")


def _verified(token: str, key: Public, wanted: str) -> _Payload:
    try:
        header = jwt.get_unverified_header(token)
        if wanted and header.get("kid") != wanted:
            raise Problem("PC7037", "the signature names another key")
        # OPA looks at no claim but these: when it was made says nothing of how long it is good.
        options = {"verify_iat": False, "verify_exp": False, "verify_nbf": False}
        jwt.decode(
            token,
            key,
            algorithms=[algorithm(key)],
            options=options | {"verify_aud": False},  # type: ignore[arg-type]
        )
        body = token.split(".")[1]
        payload = _payload(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (jwt.PyJWTError, msgspec.MsgspecError, ValueError):
        raise Problem("PC7037", "the signature is not one of the key's") from None
    if payload.scope:
        raise Problem("PC7037", "the signature is for another scope")
    if len({one.name for one in payload.files}) < len(payload.files):
        raise Problem("PC7037", "the signature lists a file twice")
    return payload


def digest(name: str, body: bytes) -> str:
    """A file's SHA-256 in hex, as OPA computes it. Raises Problem PC7037 for JSON that is none."""
    if name.rpartition("/")[2] not in _STRUCTURED:
        return hashlib.sha256(body).hexdigest()
    try:
        value = json.loads(body, parse_int=_Number, parse_float=_Number, parse_constant=_refused)
        return hashlib.sha256(_canonical(value).encode()).hexdigest()
    except (ValueError, RecursionError):
        raise Problem("PC7037", "a JSON document of the bundle cannot be read") from None


class _Number(str):
    """A number as it stands in the document: OPA hashes its text."""

    __slots__ = ()


def _refused(name: str) -> object:
    raise ValueError(name)


def _canonical(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        members = (f"{_canonical(name)}:{_canonical(value[name])}" for name in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def algorithm(key: Public) -> str:
    """ES256 or RS256. Raises Problem PC7001 for a key that is good for neither."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _BITS:
        return "RS256"
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return "ES256"
    raise Problem("PC7001", "a key of bundles is P-256 (ES256) or RSA with 2048 bits (RS256)")


def key_id(key: Public) -> str:
    """What a key is called in signatures: the SHA-256 of its SubjectPublicKeyInfo, shortened."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()[:32]


def public_pem(key: Public) -> str:
    """A public key in PEM, as OPA's configuration takes it."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def public_key(pem: bytes) -> Public:
    """A public key of PEM. Raises Problem PC7001."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise Problem("PC7001", "the key of bundles is not a public key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Problem("PC7001", "a key of bundles is P-256 (ES256) or RSA (RS256)")
    algorithm(key)
    return key
