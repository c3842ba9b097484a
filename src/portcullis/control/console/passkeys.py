"""Passkeys of operators: logging in with one, adding and removing them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Final

from portcullis.control.console.ceremonies import Ceremonies
from portcullis.control.console.relying import RelyingParty, named
from portcullis.control.console.visitor import Visitor
from portcullis.control.giving import lasting
from portcullis.control.principals import LOCAL, OIDC, Principals
from portcullis.core.errors import Problem
from portcullis.core.passkey_ports import Passkey, Passkeys
from portcullis.core.ports import Clock
from portcullis.core.principal import PrincipalKind
from portcullis.identity.records import IdentityRecords

MOST: Final = 16
"""How many passkeys an operator may have."""
FRESH_SECONDS: Final = 300
"""How long after a login passkeys may be added and removed."""
LONGEST_NAME: Final = 63


class Handles:
    """What stands for operators at authenticators: an HMAC-SHA256, which says no name."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, operator: str) -> bytes:
        """The user handle (WebAuthn level 3, section 14.6.1); always the same."""
        return hmac.digest(self._key, b"handle\0" + operator.encode(), hashlib.sha256)


@dataclass(frozen=True, slots=True)
class ShownPasskey:
    """A passkey as it was shown at a login: ``control.login.Shown``.

    ``holder`` is whose the ceremony is; ``only`` the operator whose passkey it has to be, empty for
    anybody's.
    """

    ceremonies: Ceremonies
    holder: str
    ceremony: str
    party: RelyingParty
    state: Any
    answer: str
    passkey: str
    store: Passkeys
    handles: Handles
    clock: Clock
    only: str = ""

    def owner(self) -> str:
        """Whose it is; empty when it is nobody's. Raises Problem PC2083 for somebody else's."""
        found = self.store.get(self.passkey)
        if found is not None and self.only not in {"", found.operator}:
            raise Problem("PC2083", "it is another operator's", hint="Use a passkey of yours.")
        return "" if found is None else found.operator

    def prove(self) -> None:
        """Raise Problem PC2083 or PC2084 unless it is good; then remember its counter."""
        found = self.store.get(self.passkey)
        if found is None:
            raise Problem("PC2083", "it was removed")
        handle = self.handles.of(found.operator)
        counter = self.party.shown(self.state, self.answer, found, handle)
        self.ceremonies.spend(self.holder, self.ceremony)
        if not self.store.used(found.id, counter, self.clock.now()):
            raise Problem("PC2084", "its counter is not beyond that of its last login")


class PasskeyLogins:
    """The two halves of a login with a passkey, around the browser's."""

    def __init__(
        self, store: Passkeys, handles: Handles, clock: Clock, ceremonies: Ceremonies
    ) -> None:
        self._store = store
        self._handles = handles
        self._clock = clock
        self._ceremonies = ceremonies

    def possible(self, origin: str) -> bool:
        """Whether browsers have passkeys under this origin."""
        return RelyingParty(origin).possible

    def begin(self, origin: str, visitor: Visitor | None = None) -> dict[str, Any]:
        """The options for the browser, and the ceremony's name.

        Of a ``visitor`` it is for this login alone: not to log in, but to confirm who it is.
        """
        options, state = RelyingParty(origin).get()
        ceremony = self._ceremonies.begin(_asker(origin, visitor), state)
        return {"ceremony": ceremony, "options": options}

    def shown(
        self, origin: str, ceremony: str, answer: str, visitor: Visitor | None = None
    ) -> ShownPasskey:
        """What the browser answered, for ``Logins.passkey``. Raises Problem PC2083."""
        holder = _asker(origin, visitor)
        return ShownPasskey(
            self._ceremonies,
            holder,
            ceremony,
            RelyingParty(origin),
            self._ceremonies.end(holder, ceremony),
            answer,
            named(answer),
            self._store,
            self._handles,
            self._clock,
            "" if visitor is None else visitor.name,
        )


class PasskeyKeeping:
    """What operators do with their own passkeys, shortly after they logged in."""

    def __init__(
        self,
        store: Passkeys,
        handles: Handles,
        principals: Principals,
        records: IdentityRecords,
        clock: Clock,
        ceremonies: Ceremonies,
    ) -> None:
        self._store = store
        self._handles = handles
        self._principals = principals
        self._records = records
        self._clock = clock
        self._ceremonies = ceremonies

    def fresh(self, visitor: Visitor) -> bool:
        """Whether the login is recent enough."""
        return self._clock.now() - visitor.since <= FRESH_SECONDS

    def allowed(self, visitor: Visitor) -> bool:
        """Whether this operator has passkeys.

        Who holds the issuer's key, or logs in at an issuer of ID tokens, has not: a passkey would
        outlive what he is let in by.
        """
        return not visitor.name.startswith((LOCAL, OIDC))

    async def of(self, visitor: Visitor) -> tuple[Passkey, ...]:
        """The visitor's passkeys, the oldest first."""
        return await asyncio.to_thread(self._store.of, visitor.name)

    async def begin(self, visitor: Visitor, origin: str) -> dict[str, Any]:
        """The options for making one, and the ceremony's name. Raises PC2082, PC2085."""
        self._check(visitor)
        known, party = await self.of(visitor), RelyingParty(origin)
        _first(visitor, known)
        if not party.possible:
            raise Problem("PC2085", "browsers have no passkeys for an address")
        _room(known)
        options, state = party.create(self._handles.of(visitor.name), visitor.name, known)
        return {
            "ceremony": self._ceremonies.begin(_holder(visitor, origin), state),
            "options": options,
        }

    async def add(
        self, visitor: Visitor, origin: str, ceremony: str, answer: str, name: str
    ) -> Passkey:
        """Keep a passkey that was just made. Raises Problem PC2082, PC2083, PC2085, PC1020."""
        self._check(visitor)
        called = " ".join(name.split())
        if not called or len(called) > LONGEST_NAME or not called.isprintable():
            raise Problem("PC1020", f"name: 1 to {LONGEST_NAME} characters")
        holder = _holder(visitor, origin)
        made = RelyingParty(origin).made(self._ceremonies.end(holder, ceremony), answer)
        passkey = Passkey(
            id=made.id,
            operator=visitor.name,
            name=called,
            public=made.public,
            sign_count=made.sign_count,
            created_at=self._clock.now(),
        )
        async with self._principals.changing:  # whoever is rotated meanwhile adds nothing
            self._ceremonies.spend(holder, ceremony)
            self._principals.unrotated(
                PrincipalKind.OPERATOR, visitor.name, visitor.context.principal.issued_at
            )
            known = await self.of(visitor)
            _first(visitor, known)
            _room(known)
            if await asyncio.to_thread(self._store.get, made.id) is not None:
                raise Problem("PC2085", "this passkey is known already")
            await self._record(visitor, "passkey.added", passkey.id)
            if not await asyncio.to_thread(self._store.add, passkey):
                raise Problem("PC2085", "this passkey is known already")
        return passkey

    async def remove(self, visitor: Visitor, passkey: str) -> None:
        """Take one away; what was logged in with it stays so. Raises PC2082, PC2083, PC2086."""
        self._check(visitor)
        if not visitor.roles:
            raise _more_than_a_password()
        if passkey not in {one.id for one in await self.of(visitor)}:
            raise Problem("PC2083", "you have no such passkey", hint="Load the page again.")
        await self._record(visitor, "passkey.removed", passkey)
        await asyncio.to_thread(self._store.remove, visitor.name, passkey)

    def _check(self, visitor: Visitor) -> None:
        lasting(visitor.context)
        if not self.allowed(visitor):
            raise Problem("PC2085", "this operator logs in another way")
        if not self.fresh(visitor):
            raise Problem("PC2082", f"more than {FRESH_SECONDS} s have passed since the login")

    async def _record(self, visitor: Visitor, method: str, passkey: str) -> None:
        principal = visitor.context.principal
        await self._records.done(
            method,
            kind=principal.kind,
            principal=principal.id,
            credential=principal.credential,
            source=visitor.context.source,
            parameters={"passkey": hashlib.sha256(passkey.encode()).hexdigest()[:16]},
        )


def _holder(visitor: Visitor, origin: str) -> str:
    return f"{origin} {visitor.context.principal.credential}"


def _asker(origin: str, visitor: Visitor | None) -> str:
    """Whose ceremony it is: nobody's yet, or one login's, for another end than adding a passkey."""
    return origin if visitor is None else f"{_holder(visitor, origin)} again"


def _first(visitor: Visitor, known: tuple[Passkey, ...]) -> None:
    """A login without roles adds the first passkey, no other: a password may be phished."""
    if known and not visitor.roles:
        raise _more_than_a_password()


def _room(known: tuple[Passkey, ...]) -> None:
    if len(known) >= MOST:
        raise Problem("PC2085", f"there are {MOST} passkeys already", hint="Remove one.")


def _more_than_a_password() -> Problem:
    hint = "Log in with a passkey that you have."
    return Problem("PC2086", "you have a passkey: a password is not enough here", hint=hint)
