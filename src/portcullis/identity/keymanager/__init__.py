"""Where key-encryption keys lie: one adapter of the ``KeyManager`` port per kind of place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from portcullis.config.identity import (
    FileKeys,
    KeyManagerSettings,
    OpenBaoKeys,
    PassphraseKeys,
    Pkcs11Keys,
)
from portcullis.core.errors import Problem
from portcullis.core.ports import SEALED, KeyManager
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.keymanager.openbao import OpenBaoKeyManager
from portcullis.identity.keymanager.passphrase import PassphraseKeyManager
from portcullis.identity.keymanager.pkcs11 import Pkcs11KeyManager

KEYS: Final = "keys"
"""The folder of the issuer's and the logs' keys in the state directory, and of our own."""
FOLDERS: Final = (KEYS, "ca")
"""The folders in the state directory that hold sealed files."""


def key_manager(
    settings: KeyManagerSettings,
    *,
    state: Path,
    secret: Callable[[str], str],
    create: bool | None = None,
) -> KeyManager:
    """The key manager of a deployment; ``secret`` resolves references. Blocks.

    Keys are made when there are none, but by default only while no file in ``state`` is sealed:
    a key manager that has lost its keys must say so. Raises Problem PC7001 (settings or files),
    PC7005 (something is missing), PC7010 (wrong or lost key, passphrase or PIN).
    """
    create = not any(sealed_files(state)) if create is None else create
    match settings:
        case FileKeys():
            path = settings.path or state / KEYS / "master.key"
            return FileKeyManager(path, create=create)
        case PassphraseKeys():
            passphrase = secret(settings.passphrase)
            return PassphraseKeyManager(state / KEYS / "master.sealed", passphrase, create=create)
        case Pkcs11Keys():
            pin = secret(settings.pin)
            return Pkcs11KeyManager(
                settings.module, settings.token, pin, settings.label, create=create
            )
        case OpenBaoKeys():
            token = partial(secret, settings.token)
            return OpenBaoKeyManager(settings.url, settings.mount, settings.key, token)


def sealed_files(state: Path) -> dict[Path, bytes]:
    """The sealed files in a state directory, and what they hold. Problem PC7001 for a bad one."""
    found = {}
    for path in sorted(path for folder in FOLDERS for path in (state / folder).rglob("*")):
        try:
            content = _sealed(path) if path.is_file() else b""
        except OSError as error:
            raise Problem("PC7001", f"cannot use {path}: {error.strerror}") from None
        if content.startswith(SEALED):
            found[path] = content
    return found


def _sealed(path: Path) -> bytes:
    """What is in a sealed file; nothing of another, which may be large."""
    with path.open("rb") as file:
        return SEALED + file.read() if file.read(len(SEALED)) == SEALED else b""
