"""The issuer's key: made once, kept in a file that only its owner can read."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from portcullis.core.errors import Problem

ISSUER: Final = "issuer.pem"


def issuer_key(directory: Path) -> Ed25519PrivateKey:
    """The Ed25519 key that signs our tokens: ``issuer.pem`` (PKCS #8) in ``directory``.

    Makes the directory (0700) and the key (0600, durable before it is used) when they are not
    there; of two processes that do so at once, both get the same key. Raises Problem PC7001 when
    the file or the directory is open to others, is not ours, or is not an Ed25519 key.
    """
    path = directory / ISSUER
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_open(directory)
        if not path.exists():
            _create(path)
        _refuse_open(path)
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise Problem("PC7001", f"cannot use {path}: {error.strerror}") from None
    except ValueError:
        raise Problem("PC7001", f"{path} is not a private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Problem("PC7001", f"{path} is not an Ed25519 key")
    return key


def thumbprint(key: Ed25519PublicKey) -> str:
    """The key's RFC 7638 thumbprint (base64url SHA-256), which is its ``kid``."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = f'{{"crv":"Ed25519","kty":"OKP","x":"{_base64url(raw)}"}}'
    return _base64url(hashlib.sha256(jwk.encode()).digest())


def _create(path: Path) -> None:
    """Write a new key beside its place, make it durable, then link it there if nobody was first."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".issuer-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _refuse_open(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise Problem("PC7001", f"{path} belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        hint = f"Run `chmod go-rwx {path}`; if others may have read the key, replace it."
        raise Problem("PC7001", f"{path} is open to other users", hint=hint)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
