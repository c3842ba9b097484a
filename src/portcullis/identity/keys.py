"""Ed25519 keys of our own: made once, sealed in a file that only its owner can read."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portcullis.core.errors import Problem
from portcullis.core.ports import SEALED, Sealer
from portcullis.identity.private import exclusive, read_private, refuse_open, write_private

ISSUER: Final = "issuer.pem"
KILL: Final = "kill.pem"


def issuer_key(directory: Path, sealer: Sealer) -> Ed25519PrivateKey:
    """The key that signs our tokens: ``issuer.pem`` in ``directory``; see ``sealed_key``."""
    return sealed_key(directory, ISSUER, sealer)


def kill_key(directory: Path, sealer: Sealer) -> Ed25519PrivateKey:
    """The key that signs orders to kill: ``kill.pem`` in ``directory``; see ``sealed_key``."""
    return sealed_key(directory, KILL, sealer)


def sealed_key(directory: Path, name: str, sealer: Sealer) -> Ed25519PrivateKey:
    """An Ed25519 key of ours: a file (PKCS #8, sealed) called ``name`` in ``directory``.

    Makes the directory (0700) and the key (0600, durable before it is used) when they are not
    there; of two processes that do so at once, both get the same key. A key in the clear, from
    before keys were sealed, is sealed in its place, and one under an older version of the key
    manager anew. Raises Problem PC7001 when the file or the
    directory is open to others, is not ours, or is not an Ed25519 key; PC7010 when it does not
    open. Either way the file stays as it is.
    """
    path = directory / name
    purpose = f"file:{name.removesuffix('.pem')}"
    with exclusive(directory):
        refuse_open(directory, directory.stat())
        content = read_private(path)
        sealed = content is not None and content.startswith(SEALED)
        if content is None:
            content = _made()
        pem = sealer.open(content, purpose) if sealed else content
        key = _parsed(path, pem)
        if not (sealed and sealer.current(content)):
            write_private(path, sealer.seal(pem, purpose))
    return key


def derived(key: Ed25519PrivateKey, purpose: str) -> bytes:
    """A secret of 32 bytes for another purpose, by HKDF-SHA256 (RFC 5869); always the same."""
    info = b"portcullis/derived/v1\0" + purpose.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key.private_bytes_raw())


def thumbprint(key: Ed25519PublicKey) -> str:
    """The key's RFC 7638 thumbprint (base64url SHA-256), which is its ``kid``."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = f'{{"crv":"Ed25519","kty":"OKP","x":"{_base64url(raw)}"}}'
    return _base64url(hashlib.sha256(jwk.encode()).digest())


def _made() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _parsed(path: Path, pem: bytes) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (TypeError, ValueError):
        raise Problem("PC7001", f"{path} is not a private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Problem("PC7001", f"{path} is not an Ed25519 key")
    return key


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
