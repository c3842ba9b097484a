"""Operators' passwords (Argon2id, RFC 9106) and one-time codes (TOTP, RFC 6238)."""

from __future__ import annotations

import hmac
import os
import threading
import unicodedata
from typing import Final

import msgspec
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from portcullis.core.errors import Problem

SHORTEST: Final = 12
LONGEST: Final = 1024
DIGITS: Final = 6
STEP_SECONDS: Final = 30
WINDOW: Final = 1
"""How many steps a code may be off, either way."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one guess costs; by default the second choice of RFC 9106 section 4."""

    iterations: int = 3
    lanes: int = 4
    memory_kib: int = 65_536


STANDARD: Final = Cost()

ALONE: Final = threading.Lock()
"""Held while a hash is made: OpenSSL's threads for lanes are the process's, and two hashes at once
wait for each other for ever, or fail (seen with OpenSSL 4.0.3)."""


def hashed(password: str, cost: Cost) -> str:
    """A new password as a PHC string. Raises Problem PC1020 for a short or overlong one. Blocks."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Problem("PC1020", f"a password has {SHORTEST} to {LONGEST} characters")
    argon2 = Argon2id(
        salt=os.urandom(16),
        length=32,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    with ALONE:
        phc: str = argon2.derive_phc_encoded(_bytes(password))
    return phc


def nobodys(cost: Cost) -> str:
    """The hash of a password that nobody knows: verifying it takes as long as any other."""
    return hashed(os.urandom(32).hex(), cost)


def matches(password: str, phc: str) -> bool:
    """Whether it is the password. Blocks for as long as the hash, and one before it, demands."""
    try:
        with ALONE:
            Argon2id.verify_phc_encoded(_bytes(password[:LONGEST]), phc)
    except InvalidKey:
        return False
    return True


def totp_secret() -> bytes:
    """A new secret of 160 bits, the length of the hash (RFC 4226 section 4)."""
    return os.urandom(20)


def otpauth(secret: bytes, name: str, issuer: str) -> str:
    """The URI that authenticator apps read. It holds the secret."""
    return _totp(secret).get_provisioning_uri(name, issuer)


def step_of(code: str, secret: bytes, now: float) -> int | None:
    """The time step (seconds since the epoch / 30) whose code this is, near now, or None."""
    present = int(now // STEP_SECONDS)
    found = None
    for step in range(present - WINDOW, present + WINDOW + 1):
        right = _totp(secret).generate(step * STEP_SECONDS)
        if hmac.compare_digest(right, code.encode("utf-8", "replace")):
            found = step
    return found


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 - what RFC 6238 and apps use


def _bytes(password: str) -> bytes:
    """However it was typed, the same bytes (RFC 8265 section 4.2)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
