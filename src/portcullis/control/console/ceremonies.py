"""WebAuthn ceremonies that have begun: challenges, each good once and for a short time."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Once
from portcullis.identity import jws
from portcullis.wire.json import decode, encode

SECONDS: Final = 300
"""How long a challenge is good."""
_MAX_NAME: Final = 2048


class Ceremonies:
    """What the server has to know between the two halves of a ceremony is in the browser.

    It stands there under an HMAC-SHA256, so that who begins many takes no room here. What is
    answered with a passkey is spent; nobody without one can fill that memory.
    Whoever spends has ``Principals.changing``: ``once`` is for one at a time.
    """

    def __init__(self, key: bytes, clock: Clock, once: Once) -> None:
        self._key = key
        self._clock = clock
        self._once = once

    def begin(self, holder: str, state: Any) -> str:
        """The name of a ceremony of ``holder`` (an origin, and a login's credential if any)."""
        kept = jws.encoded(encode([self._clock.now() + SECONDS, state]))
        return f"{kept}.{self._code(holder, kept)}"

    def end(self, holder: str, name: str) -> Any:
        """The ``state`` of a ceremony. Raises Problem PC2083 when it is not one of now."""
        return self._read(holder, name)[1]

    def spend(self, holder: str, name: str) -> None:
        """Use it up. Raises Problem PC2083 when it is not one of now, or was used."""
        until, _ = self._read(holder, name)
        if not self._once.spend(hashlib.sha256(name.encode()).digest(), until):
            raise _over()

    def _read(self, holder: str, name: str) -> tuple[float, Any]:
        kept, _, code = name.partition(".")
        wanted = self._code(holder, kept).encode()
        if len(name) > _MAX_NAME or not hmac.compare_digest(wanted, code.encode()):
            raise _over()
        until, state = decode(jws.decoded(kept))
        if self._clock.now() >= until or until - SECONDS < self._once.since:
            raise _over()
        return until, state

    def _code(self, holder: str, kept: str) -> str:
        text = b"\0".join((b"ceremony", holder.encode(), kept.encode()))
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def _over() -> Problem:
    hint = "Try again: it has to be done within 5 minutes."
    return Problem("PC2083", "the challenge is not of now", hint=hint)
