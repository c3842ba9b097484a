"""Passkeys: WebAuthn credentials that operators log in with, and where they are kept."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey of an operator's (WebAuthn level 3, section 4, "credential record").

    ``id`` is the credential's in base64url without padding, ``name`` what its owner calls it,
    ``public`` its attested credential data (section 6.5.2). ``used_at`` is 0 until its first login.
    """

    id: str
    operator: str
    name: str
    public: bytes
    sign_count: int
    created_at: float
    used_at: float = 0.0


class Passkeys(Protocol):
    """The passkeys of all operators, durable. Every method blocks.

    ``add`` returns False when there is one of this id, whoever's. ``used`` stores the counter and
    the time of a login and returns True only when the counter is beyond the one stored, or both
    are 0, however many ask at once. ``remove`` takes one of the operator's own away, ``forget``
    all of them; ``remove`` returns False when it was none.
    """

    def get(self, passkey: str) -> Passkey | None: ...
    def of(self, operator: str) -> tuple[Passkey, ...]: ...
    def add(self, passkey: Passkey) -> bool: ...
    def used(self, passkey: str, sign_count: int, at: float) -> bool: ...
    def remove(self, operator: str, passkey: str) -> bool: ...
    def forget(self, operator: str) -> None: ...
