"""How operators log in: a password and a one-time code, or the ID token of a known issuer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cached_property
from typing import Final, Protocol

from portcullis.control.giving import above, lasting
from portcullis.control.principals import OIDC, Principals
from portcullis.control.throttle import Throttle
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import (
    Clock,
    OperatorCredential,
    Operators,
    Sealer,
)
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.passwords import (
    Cost,
    hashed,
    matches,
    nobodys,
    otpauth,
    step_of,
    totp_secret,
)
from portcullis.identity.records import IdentityRecords
from portcullis.identity.tokens import AUDIENCE, CONSOLE, Minted

AT_ONCE: Final = 1
"""How many passwords are verified at the same time: each takes 64 MiB and up to four cores."""
WAITING: Final = 16
"""How many more logins may wait for that."""
LONGEST_LOCK: Final = 900
"""For how many seconds a name is locked at most. What ends later was made by a wrong clock."""
GRAIN_SECONDS: Final = 0.25
"""Refusals leave at multiples of this after the request: their time tells nothing."""

_KIND: Final = PrincipalKind.OPERATOR
_SAME: Final = frozenset({"PC2003", "PC2007", "PC2009", "PC4001"})
"""What must not be told apart from a wrong password."""
_PASSKEY: Final = frozenset({"PC2083", "PC2084"})


class Locked(Problem):
    """Problem PC2071: too many failures. ``seconds`` is how long to wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, math.ceil(seconds))
        super().__init__("PC2071", f"wait {self.seconds} s")


class Shown(Protocol):
    """A passkey as it was shown. Both methods block.

    ``owner`` is whose it is, empty when it is nobody's; ``prove`` raises Problem PC2083 or PC2084
    unless it is that one's passkey and made for this very login, and then uses it up.
    """

    def owner(self) -> str: ...  # noqa: D102 - the class says it
    def prove(self) -> None: ...  # noqa: D102 - the same


class Person(Protocol):
    """Whom an ID token is about; ``id`` begins with the issuer's name in our configuration."""

    @property
    def id(self) -> str: ...  # noqa: D102 - the class says it
    @property
    def issuer(self) -> str: ...  # noqa: D102 - the same
    @property
    def roles(self) -> tuple[str, ...]: ...  # noqa: D102 - the same
    @property
    def email(self) -> str: ...  # noqa: D102 - the same
    @property
    def expires_at(self) -> float: ...  # noqa: D102 - the same


class Logins:
    """Gives operators their tokens.

    Every refusal is Problem PC2070 whatever was wrong (PC2071 while too many failed, PC2072 for
    an ID token), and it is recorded here. Use it from one event loop.

    With ``passkeys_required``, a password is good for a token without roles, with which nothing
    can be done but to add a passkey, and only where such a one is asked for.

    ``vouched`` turns an ID token into the operator that it is about, or raises Problem PC2072;
    None when no issuer is configured. ``issuer`` is what authenticator apps show.
    """

    def __init__(
        self,
        *,
        operators: Operators,
        principals: Principals,
        sealer: Sealer,
        records: IdentityRecords,
        clock: Clock,
        vouched: Callable[[str], Awaitable[Person]] | None,
        issuer: str,
        cost: Cost,
        grain: float = GRAIN_SECONDS,
        passkeys_required: bool = False,
    ) -> None:
        self._operators = operators
        self._principals = principals
        self._sealer = sealer
        self._records = records
        self._clock = clock
        self._vouched = vouched
        self._issuer = issuer
        self._cost = cost
        self._grain = grain
        self._passkeys_required = passkeys_required
        self._names = Throttle(clock, free=3, longest=LONGEST_LOCK)
        self._shown = Throttle(clock, free=3, longest=LONGEST_LOCK)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._setting = asyncio.Lock()
        self._set: Counter[str] = Counter()  # odd while a name's password is being set
        self._waiting = 0

    async def password(
        self,
        name: str,
        password: str,
        code: str,
        *,
        source: str,
        adding: bool = False,
        audience: str = AUDIENCE,
    ) -> Minted:
        """A token for who knows the password and holds the authenticator.

        Where passkeys are required it has no roles if it is for ``adding`` one; else Problem
        PC2086 is raised.
        """
        before = self._set[name]
        async with self._refusals(source) as login:
            async with self._slot():
                _refuse_locked(self._names, name)
                credential, right = await asyncio.to_thread(self._verify, name, password, code)
            if credential is not None:
                login.known = name
            try:
                if not right:
                    raise Problem("PC4001", "not this operator")
                if self._passkeys_required and not adding:
                    raise Problem("PC2086", "a password is not enough here")
                roles = () if self._passkeys_required else None
                minted = await self._principals.mint(
                    _self(name, source), _KIND, name, roles=roles, audience=audience
                )
                if before % 2 or before != self._set[name]:
                    raise Problem("PC4001", "the password was replaced meanwhile")
            except Problem as problem:
                if problem.code not in _SAME:
                    raise
                await self._failed(name, credential)
                raise Problem("PC2070", "name, password or one-time code is wrong") from None
            self._names.clear(name)
            await self._done(name, minted, source, by="password")
        return minted

    async def passkey(self, show: Callable[[], Shown], *, source: str) -> Minted:
        """A token of the console for who shows a passkey.

        Raises Problem PC2083, PC2084; PC2071 when locked.
        """
        async with self._refusals(source) as login:
            shown = show()
            login.known = name = await asyncio.to_thread(shown.owner)
            if not name:
                raise Problem("PC2083", "nobody has such a passkey")
            _refuse_locked(self._shown, name)
            began = self._clock.now()
            try:
                async with self._principals.changing:  # it may be taken away at this moment
                    await asyncio.to_thread(shown.prove)
                    minted = await self._principals.mint(
                        _self(name, source), _KIND, name, audience=CONSOLE
                    )
                    self._principals.unrotated(_KIND, name, began)
            except Problem as problem:
                if problem.code not in _SAME | _PASSKEY:
                    raise
                self._shown.failed(name)
                if problem.code in _PASSKEY:
                    raise
                raise Problem("PC2083", "this operator may not log in") from None
            self._shown.clear(name)
            await self._done(name, minted, source, by="passkey")
        return minted

    async def id_token(self, token: str, *, source: str) -> Minted:
        """A token for the operator for whom an issuer vouches; registers who comes first."""
        async with self._refusals(source) as login:
            if self._vouched is None:
                raise Problem("PC2072", "no issuer of ID tokens is configured")
            person = await self._vouched(token)
            name = OIDC + hashlib.sha256(person.id.encode()).hexdigest()[:32]
            login.known = name
            context = _self(name, source)
            try:
                await self._registered(context, name, person)
                minted = await self._principals.mint(context, _KIND, name, until=person.expires_at)
            except Problem as problem:
                if problem.code not in _SAME:
                    raise
                raise Problem("PC2072", "this operator may not log in") from None
            await self._done(name, minted, source, by=person.issuer)
        return minted

    async def enrol(self, context: Context, name: str, password: str) -> str:
        """Set an operator's password and a new authenticator secret; its otpauth:// URI, once.

        Tokens of the former ones are worthless. Raises Problem PC2010 for an unknown operator,
        PC2004 for one that logs in at an issuer, PC1020 for a bad password, PC7046 for one who has
        a right that who asks has not.
        """
        lasting(context)
        if name.startswith(OIDC):
            raise Problem("PC2004", "this operator logs in at its issuer")
        above(self._principals.roles, context, await self._principals.get(_KIND, name))
        phc = await asyncio.to_thread(hashed, password, self._cost)
        secret = totp_secret()
        sealed = await asyncio.to_thread(self._sealer.seal, secret, _purpose(name))
        credential = OperatorCredential(name=name, password=phc, totp=sealed)
        async with self._setting:
            self._set[name] += 1
            try:
                await self._principals.rotate(context, _KIND, name)
                await asyncio.to_thread(self._operators.put, credential)
            finally:
                self._set[name] += 1
        self._names.clear(name)
        return otpauth(secret, name, self._issuer)

    @cached_property
    def _nobodys(self) -> str:
        return nobodys(self._cost)

    def _verify(
        self, name: str, password: str, code: str
    ) -> tuple[OperatorCredential | None, bool]:
        """The operator's credential, and whether all is right; then the code is used up."""
        credential, phc = self._operators.get(name), self._nobodys
        if not matches(password, phc if credential is None else credential.password):
            return credential, False
        now = self._clock.now()
        if credential is None or 0 < credential.locked_until - now <= LONGEST_LOCK:
            return credential, False
        step = step_of(code, self._sealer.open(credential.totp, _purpose(name)), now)
        return credential, step is not None and self._operators.spend(name, step)

    async def _registered(self, context: Context, name: str, person: Person) -> None:
        """Make the register say what the issuer says; an address of his is never forgotten."""
        users = (person.email,) if person.email else ()
        try:
            record = await self._principals.present(_KIND, name)
        except Problem as problem:
            if problem.code != "PC2007":
                raise
            await self._principals.create(
                context,
                _KIND,
                name,
                owner=person.issuer,
                roles=person.roles,
                users=users,
                vouched=True,
            )
            return
        if record.roles != person.roles:
            await self._principals.set_roles(context, name, person.roles, vouched=True)
        if not set(users) <= set(record.users):
            await self._principals.set_users(context, name, users, more=True, vouched=True)

    async def _failed(self, name: str, credential: OperatorCredential | None) -> None:
        before = 0 if credential is None else credential.failures
        failures, until = self._names.failed(name, before)
        await asyncio.to_thread(self._operators.failed, name, failures, until)

    async def _done(self, name: str, minted: Minted, source: str, *, by: str) -> None:
        await self._records.done(
            "login",
            kind=_KIND,
            principal=name,
            credential=minted.id,
            source=source,
            parameters={"by": by, "expires_at": int(minted.expires_at)},
        )

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._waiting >= AT_ONCE + WAITING:
            raise Locked(1)
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1

    @contextlib.asynccontextmanager
    async def _refusals(self, source: str) -> AsyncIterator[_Attempt]:
        """Record a refusal, with the operator's name when it is known, and take its time."""
        started, attempt = self._clock.monotonic(), _Attempt()
        try:
            yield attempt
        except Problem as problem:
            answer = self._records.refused(
                "login", problem, source=source, kind=_KIND, principal=attempt.known
            )
            if self._grain:
                spent = self._clock.monotonic() - started
                await asyncio.sleep(self._grain - spent % self._grain)
            raise answer from None


class _Attempt:
    """What is known of who tries to log in: a name only when it is an operator's."""

    known = ""


def _refuse_locked(throttle: Throttle, name: str) -> None:
    seconds = throttle.wait(name)
    if seconds > 0:
        raise Locked(seconds)


def _self(name: str, source: str) -> Context:
    """Who logs in acts for itself."""
    operator = Principal(kind=_KIND, id=name, credential="login", expires_at=math.inf)
    return Context(principal=operator, session=None, source=source, trace_id="", received_at=0.0)


def _purpose(name: str) -> str:
    return f"operators:{name}"
