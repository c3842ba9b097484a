"""Users connect their accounts at upstreams, once, and the gate acts for them with that.

An application asks for a link for the user of one of its sessions; the user's browser follows it,
says whose account for whom this is going to be, and goes to the authorization server and back
(authorization code, PKCE). What comes back counts for the browser that left, for the server that
it was sent to, and once (RFC 9700 sections 2.1 and 4.4, RFC 9207). What is kept is the refresh
token, sealed under the user's key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from portcullis.config.identity import Oidc
from portcullis.control.containment import by_itself
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.grant_ports import Grants
from portcullis.core.grants import Grant, Holding, Link
from portcullis.core.ports import Clock
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.secret import Secret
from portcullis.execution.oauth.client import OauthClient, Tokens
from portcullis.execution.oauth.id_tokens import account_of
from portcullis.execution.oauth.tokens import narrow

LINK_SECONDS: Final = 600.0
"""How long a link is good, and then how long somebody may take at the authorization server."""
ROUTE: Final = "connect"
_MOST: Final = 1024
"""How many browsers may be on their way at once."""
_WORD: Final = re.compile(r"[a-z_]{1,64}")
_BYTES: Final = 32


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A new link: ``code`` is in it and nowhere else."""

    code: str
    expires_at: float


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """Where the browser goes, and what it shows us again when it comes back."""

    url: str
    browser: str


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    link: Link
    browser: bytes
    verifier: str
    nonce: str
    redirect: str
    issuer: str
    expires_at: float

    def __repr__(self) -> str:
        return "_Attempt(...)"


@dataclass(frozen=True, slots=True)
class ConnectParts:
    """What there is to connect to: the ``clients`` of upstreams that take users' tokens.

    ``forget`` drops what is in memory of a grant; ``people`` are the issuers that vouch for users.
    """

    clients: Mapping[str, OauthClient]
    grants: Grants
    people: Mapping[str, Oidc]
    forget: Callable[[str], None]


class Connecting:
    """Makes and ends users' grants. ``route`` is as in ``Principals``; one in a process."""

    def __init__(
        self,
        parts: ConnectParts,
        records: Records,
        clock: Clock,
        new_id: Callable[[], str],
        route: str,
    ) -> None:
        self._parts = parts
        self._grants = parts.grants
        self._records = records
        self._clock = clock
        self._new_id = new_id
        self._route = route
        self._attempts: dict[bytes, _Attempt] = {}

    def upstreams(self) -> tuple[str, ...]:
        """Where users can connect an account."""
        found = self._parts.clients.items()
        return tuple(name for name, client in found if client.settings.mode == "user")

    async def offer(self, context: Context, holding: Holding, session: str) -> Offered:
        """A link by which a user connects an account. Problem PC5087 where nobody can."""
        self._client(holding.upstream)
        code, now = secrets.token_urlsafe(_BYTES), self._clock.now()
        principal = context.principal
        link = Link(
            holding=holding,
            session=session,
            expires_at=now + LINK_SECONDS,
            by=f"{principal.kind}:{principal.id}",
        )
        await self._act(context, "grants.link", holding.upstream, holding, session, {})
        await asyncio.to_thread(self._grants.offer, _digest(code).hex(), link, now)
        return Offered(code=code, expires_at=link.expires_at)

    async def look(self, upstream: str, code: str) -> Link:
        """What a link is for; it is not used up. Problem PC5084."""
        found = await asyncio.to_thread(
            self._grants.offered, _digest(code).hex(), self._clock.now()
        )
        if found is None or found.holding.upstream != upstream:
            raise Problem("PC5084", "the link is unknown, used or past its time")
        return found

    async def begin(self, upstream: str, code: str, redirect: str) -> Begun:
        """Use a link up: where its browser goes now. ``redirect`` is where it comes back to."""
        client, now = self._client(upstream), self._clock.now()
        server = await client.server()
        link = await asyncio.to_thread(self._grants.taken, _digest(code).hex(), now)
        if link is None or link.holding.upstream != upstream:
            raise Problem("PC5084", "the link is unknown, used or past its time")
        self._tidy(now)
        state, verifier, nonce, browser = (secrets.token_urlsafe(_BYTES) for _ in range(4))
        self._attempts[_digest(state)] = _Attempt(
            link=link,
            browser=_digest(browser),
            verifier=verifier,
            nonce=nonce,
            redirect=redirect,
            issuer=server.issuer,
            expires_at=now + LINK_SECONDS,
        )
        url = await client.authorization(state, verifier, nonce, redirect)
        return Begun(url=url, browser=browser)

    async def finish(self, upstream: str, said: Mapping[str, str], browser: str) -> Grant:
        """Make the grant of what the browser brought back, and of nothing else.

        Raises Problem PC5084 for what is not the answer to this browser's question or of another
        server, PC5081 when the server or the user refused, PC5083 and PC5085 as the texts of the
        codes say.
        """
        attempt = self._attempts.pop(_digest(said.get("state", "")), None)
        now = self._clock.now()
        if (
            attempt is None
            or now >= attempt.expires_at
            or attempt.link.holding.upstream != upstream
            or not hmac.compare_digest(attempt.browser, _digest(browser))
        ):
            raise Problem("PC5084", "it answers nothing that this browser was sent to ask")
        client = self._client(upstream)
        server = await client.server()
        told = said.get("iss", "")
        if server.issuer != attempt.issuer or (
            told != attempt.issuer if told or server.says_iss else False
        ):
            raise Problem("PC5084", "another authorization server answered than the one asked")
        if said.get("error"):
            word = said["error"] if _WORD.fullmatch(said["error"]) else "an error"
            raise Problem("PC5081", f"it answered {word}", hint="Follow a new link to try again.")
        if not said.get("code"):
            raise Problem("PC5084", "the answer has no code")
        tokens = await client.redeem(said["code"], attempt.verifier, attempt.redirect)
        return await self._keep(client, attempt, tokens, now)

    async def _keep(
        self, client: OauthClient, attempt: _Attempt, tokens: Tokens, now: float
    ) -> Grant:
        link, holding = attempt.link, attempt.link.holding
        if tokens.refresh is None:
            hint = "Ask for it: most servers want the scope offline_access."
            raise Problem("PC5083", "the authorization server gave no refresh token", hint=hint)
        narrow(client, tokens)
        account = ""
        if "openid" in client.settings.scopes:
            account = await account_of(client, tokens.id_token, attempt.nonce, now)
        self._same_person(attempt, account)
        grant = Grant(
            id=self._new_id(),
            holding=holding,
            scopes=tuple(tokens.scope.split()) or client.settings.scopes,
            created_at=now,
            account=account,
            issuer=attempt.issuer,
        )
        context = _as_link(link, now)
        said = {"grant": grant.id, "scopes": list(grant.scopes)}
        await self._act(context, "grants.connect", holding.upstream, holding, link.session, said)
        # The one before is not revoked: servers that join both would end the new one with it.
        before = await asyncio.to_thread(self._grants.put, grant, tokens.refresh)
        if before:
            self._parts.forget(before)
        return grant

    def _same_person(self, attempt: _Attempt, account: str) -> None:
        """Who was vouched for by the very server of the upstream connects no account but his."""
        issuer, _, subject = attempt.link.holding.user.partition(":")
        known = self._parts.people.get(issuer)
        if known is None or not subject or known.issuer != attempt.issuer or not account:
            return
        if account != subject:
            raise Problem("PC5085", "the account is not the one that the session was opened for")

    async def list(
        self, upstream: str = "", application: str = "", user: str = ""
    ) -> tuple[Grant, ...]:
        """The grants, of an upstream, an application or a user."""
        return await asyncio.to_thread(self._grants.all, upstream, application, user)

    async def connected(self, application: str, user: str) -> dict[str, Grant]:
        """What a user of an application has connected, by the upstream."""
        found = await self.list(application=application, user=user)
        return {grant.holding.upstream: grant for grant in found}

    async def revoke(self, context: Context, grant_id: str, reason: str) -> bool:
        """End a grant, here at once and then at its authorization server; whether that was told.

        Raises Problem PC5086 for one that there is not.
        """
        known = {grant.id: grant for grant in await self.list()}
        grant = known.get(grant_id)
        if grant is None:
            raise Problem("PC5086", "there is no grant of this id")
        holding = grant.holding
        said = {"grant": grant.id, "reason": reason}
        await self._act(context, "grants.revoke", holding.upstream, holding, "", said)
        removed = await asyncio.to_thread(self._grants.remove, grant_id)
        self._parts.forget(grant_id)
        token = None if removed is None else removed[1]
        told = token is not None and await self._tell(grant, token)
        await self._act(
            context,
            *("grants.revoked", holding.upstream, holding, ""),
            {"grant": grant.id, "server_told": told},
        )
        return told

    async def lost(self, grant: Grant, error: str) -> None:
        """Record that an authorization server does not honour a grant any more.

        It was revoked there, or its refresh token was used by somebody else (RFC 9700 4.14.2).
        """
        said = {"grant": grant.id, "error": error, "version": grant.version}
        context = by_itself(self._clock.now())
        await self._act(context, "grants.lost", grant.holding.upstream, grant.holding, "", said)

    async def vouch(self, session: Session, id_token: str) -> None:
        """Keep the ID token of a session for upstreams that exchange it, where there are any."""
        if any(client.settings.mode == "exchange" for client in self._parts.clients.values()):
            await asyncio.to_thread(
                self._grants.vouch,
                *(session.id, session.user, Secret(id_token), session.expires_at),
            )

    async def _tell(self, grant: Grant, token: Secret) -> bool:
        client = self._parts.clients.get(grant.holding.upstream)
        if client is None:
            return False
        try:
            return await client.revoke(token, grant.issuer)
        except Problem:
            return False

    def _client(self, upstream: str) -> OauthClient:
        client = self._parts.clients.get(upstream)
        if client is None or client.settings.mode != "user":
            raise Problem("PC5087", "no upstream of this name has oauth with mode user")
        return client

    def _tidy(self, now: float) -> None:
        over = [state for state, one in self._attempts.items() if now >= one.expires_at]
        for state in over:
            del self._attempts[state]
        if len(self._attempts) >= _MOST:
            raise Problem("PC5006", "too many browsers are on their way to authorization servers")

    async def _act(
        self,
        context: Context,
        method: str,
        name: str,
        holding: Holding,
        session: str,
        said: Mapping[str, object],
    ) -> None:
        """Record it durably; the user is committed to, and not named."""
        now = self._clock.now()
        about = Session(
            id=session,
            agent="",
            application=holding.application,
            user=holding.user,
            prompt="",
            subject={},
            grant=None,
            opened_at=now,
            expires_at=now,
        )
        await self._records.act(
            context, method, name, route=self._route, parameters=dict(said), session=about
        )


def _as_link(link: Link, now: float) -> Context:
    """Whoever follows a link acts as the one who asked for it: nobody else vouches for him."""
    kind, _, name = link.by.partition(":")
    return Context(
        principal=Principal(
            kind=PrincipalKind(kind), id=name, credential="link", expires_at=link.expires_at
        ),
        session=None,
        source=ROUTE,
        trace_id=secrets.token_hex(16),
        received_at=now,
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
