"""Access tokens for calls, each one user's: the ``UserTokens`` port.

They are in memory alone, under whose they are and what they were made from; what they are made
from (a grant's refresh token, a session's ID token) lies sealed with its user. Whether there is
still a grant is asked at every call, so what was revoked or erased serves nobody from then on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

import msgspec
import structlog

from portcullis.core.behalf import Behalf
from portcullis.core.errors import Problem
from portcullis.core.grant_ports import Grants
from portcullis.core.grants import Grant, Holding
from portcullis.core.ports import Clock
from portcullis.core.secret import Secret
from portcullis.core.secret_use import NOBODY, holder
from portcullis.execution.oauth.client import OauthClient, RefusedError, Tokens

log = structlog.get_logger(__name__)

MARGIN_SECONDS: Final = 30.0
"""So long before its end a token is not used any more, or for half its life if that is less."""
CLAIM_SECONDS: Final = 30.0
"""For so long one process alone may use a grant's refresh token."""
_WAIT_SECONDS: Final = 0.1
_MOST: Final = 8192
_ENDED: Final = frozenset({"invalid_grant"})
"""RFC 6749 section 5.2: expired, revoked, or used by somebody else before."""

Key: TypeAlias = tuple[str, ...]
Lost: TypeAlias = Callable[[Grant, str], Awaitable[None]]
"""Told of a grant that the authorization server does not honour any more, and of its word why."""


class _Held(NamedTuple):
    secret: Secret
    until: float


class OauthTokens:
    """Makes tokens with the ``clients`` by the upstreams' names; see the port for its promises.

    ``connect`` is where users connect accounts: the hint of a call that finds no grant. Use it from
    one event loop.
    """

    def __init__(
        self,
        clients: Mapping[str, OauthClient],
        grants: Grants,
        clock: Clock,
        *,
        lost: Lost,
        connect: Callable[[str], str],
    ) -> None:
        self._clients = dict(clients)
        self._grants = grants
        self._clock = clock
        self._lost = lost
        self._connect = connect
        self._held: dict[Key, _Held] = {}
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    async def token(self, upstream: str, behalf: Behalf) -> Secret:
        """A token for this upstream, of whoever the call is made for."""
        client = self._clients.get(upstream)
        if client is None:
            raise Problem("PC5012", f"no upstream {upstream} takes tokens")
        mode = client.settings.mode
        if mode == "client":
            _use(upstream, mode, "gate")
            return await self._kept((upstream, mode), client.own)
        if not behalf.user or not behalf.application:
            raise self._absent(upstream, "the call is made for no user: it is within no session")
        if mode == "exchange":
            return await self._exchanged(upstream, client, behalf)
        return await self._granted(upstream, client, behalf)

    def refused(self, upstream: str, token: Secret) -> None:
        """Forget a token that the upstream did not take."""
        gone = [
            key for key, held in self._held.items() if key[0] == upstream and held.secret == token
        ]
        for key in gone:
            del self._held[key]

    def forget(self, grant_id: str) -> None:
        """Forget the tokens of a grant."""
        for key in [key for key in self._held if key[2:3] == (grant_id,)]:
            del self._held[key]

    async def _exchanged(self, upstream: str, client: OauthClient, behalf: Behalf) -> Secret:
        id_token = await asyncio.to_thread(
            self._grants.vouched, behalf.session, behalf.user, self._clock.now()
        )
        if id_token is None:
            detail = "the session was opened without the user's ID token, or that has expired"
            raise Problem("PC5080", detail, hint="Open a session with user_token.")
        _use(upstream, "exchange", behalf.session)
        return await self._kept(
            (upstream, "exchange", behalf.session), lambda: client.exchange(id_token)
        )

    async def _granted(self, upstream: str, client: OauthClient, behalf: Behalf) -> Secret:
        holding = Holding(upstream=upstream, application=behalf.application, user=behalf.user)
        found = await asyncio.to_thread(self._grants.find, holding)
        if found is None:
            raise self._absent(upstream, "the user has connected no account")
        grant = found[0]
        secret = await self._kept(
            (upstream, "user", grant.id), lambda: self._refreshed(client, holding, grant.id)
        )
        _use(upstream, "grant", grant.id)
        return secret

    async def _refreshed(self, client: OauthClient, holding: Holding, grant_id: str) -> Tokens:
        """New tokens of a grant: one process at a time uses its refresh token, and stores the next.

        A refresh token that was used is used no more (RFC 9700 section 4.14.2): who would use the
        one before would have the server take it for stolen.
        """
        issuer = (await client.server()).issuer  # asked before the claim, which is short
        deadline = self._clock.monotonic() + CLAIM_SECONDS
        while True:
            found = await asyncio.to_thread(self._grants.find, holding)
            if found is None or found[0].id != grant_id:
                raise self._absent(holding.upstream, "the user's grant has ended")
            grant, refresh = found
            if grant.issuer != issuer:  # it would learn a token that is another's to honour
                detail = "the user's grant is of another authorization server than there is now"
                raise self._absent(holding.upstream, detail)
            now = self._clock.now()
            claimed = await asyncio.to_thread(
                self._grants.claim, grant.id, grant.version, now, now + CLAIM_SECONDS
            )
            if claimed:
                break
            if self._clock.monotonic() >= deadline:
                raise Problem("PC5082", "another process is refreshing the user's grant")
            await asyncio.sleep(_WAIT_SECONDS * (1 + secrets.randbelow(100) / 100))
        # Shielded: a caller that leaves now must not lose the token that takes the old one's place.
        return await asyncio.shield(asyncio.create_task(self._renewed(client, grant, refresh)))

    async def _renewed(self, client: OauthClient, grant: Grant, refresh: Secret) -> Tokens:
        try:
            tokens = await client.refresh(refresh)
        except RefusedError as refused:
            if refused.error not in _ENDED:
                await asyncio.to_thread(self._grants.renew, grant, None, self._clock.now())
                raise
            await asyncio.to_thread(self._grants.remove, grant.id)
            await self._lost(grant, refused.error)
            detail = "the grant has ended: the authorization server does not honour it any more"
            raise self._absent(grant.holding.upstream, detail) from None
        except BaseException:
            await asyncio.to_thread(self._grants.renew, grant, None, self._clock.now())
            raise
        kept = await asyncio.to_thread(self._grants.renew, grant, tokens.refresh, self._clock.now())
        if not kept:
            raise self._absent(grant.holding.upstream, "the user's grant has ended")
        narrow(client, tokens)  # after the next refresh token is safe: this one is used up
        return tokens

    async def _kept(self, key: Key, make: Callable[[], Awaitable[Tokens]]) -> Secret:
        """The token under a key while it is good, else one that is made, by one asker for all."""
        held = self._good(key)
        if held is not None:
            return held
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            held = self._good(key)
            if held is not None:
                return held
            began = self._clock.monotonic()
            tokens = await make()
            good = max(tokens.seconds - MARGIN_SECONDS, tokens.seconds / 2)
            if len(self._held) >= _MOST:
                del self._held[next(iter(self._held))]
            self._held[key] = _Held(tokens.access, began + good)
            # Whoever asks next drops one that has ended; this is for when nobody does.
            asyncio.get_running_loop().call_later(good, self._good, key)
            return tokens.access

    def _good(self, key: Key) -> Secret | None:
        held = self._held.get(key)
        if held is None:
            return None
        if self._clock.monotonic() < held.until:
            return held.secret
        del self._held[key]
        return None

    def _absent(self, upstream: str, detail: str) -> Problem:
        where = self._connect(upstream)
        hint = f"The user connects the account at {where}, by a link that the application asks for."
        return Problem("PC5080", detail, hint=hint if where else None)


def narrow(client: OauthClient, tokens: Tokens) -> None:
    """Raise Problem PC5083 for tokens with more scopes than were asked for."""
    asked = client.settings.scopes
    given = tokens.scope.split()
    if asked and given and not set(asked).issuperset(given):
        raise Problem("PC5083", "the authorization server gave more scopes than it was asked for")


def _use(upstream: str, kind: str, name: str) -> None:
    """Note for the call's record whose token it carries: by the grant's id, never the user."""
    current = holder.get()
    said = f"oauth:{upstream}#{kind}@{name}"
    if current is not NOBODY and said not in current.used:
        current.used.append(said)


class Unconnected(msgspec.Struct, frozen=True):
    """In place of tokens where no upstream takes any."""

    async def token(self, upstream: str, behalf: Behalf) -> Secret:
        """Nobody has one."""
        del behalf
        raise Problem("PC5012", f"no upstream {upstream} takes tokens")

    def refused(self, upstream: str, token: Secret) -> None:
        """There was none."""
