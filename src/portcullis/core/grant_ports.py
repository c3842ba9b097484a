"""The ports of calls on behalf of users: their tokens, and what they are made from."""

from __future__ import annotations

from typing import Protocol

from portcullis.core.behalf import Behalf
from portcullis.core.grants import Grant, Holding, Link
from portcullis.core.secret import Secret


class UserTokens(Protocol):
    """Access tokens for upstreams that know whom they serve.

    ``token`` returns one that is good now for this upstream on this behalf and for nobody else, or
    raises Problem PC5080 when there is no grant to make one from, PC5081 when the authorization
    server refuses, PC5082 when it cannot be asked. It never returns another's, nor a shared one.
    ``refused`` says that the upstream took a token for none: it is not handed out again.
    """

    async def token(self, upstream: str, behalf: Behalf) -> Secret: ...
    def refused(self, upstream: str, token: Secret) -> None: ...


class Grants(Protocol):
    """Grants, links and the ID tokens of sessions, durable. Every method blocks.

    Tokens lie sealed under the key of their user: when it is destroyed, there is no grant any more.
    ``find`` is the grant of a holder with its refresh token, or None. ``put`` takes the place of
    the holder's grant before and returns the id of that, if there was one. ``claim`` is True for
    the one who may use the refresh token of this version until then; ``renew`` stores the next one
    and ends the claim, and is False when the grant is gone or another's turn. ``remove`` destroys
    a grant and returns it with its token. ``all`` lists them, of an upstream, an application or a
    user.
    ``offer`` keeps a link under the SHA-256 of its code, ``offered`` looks at it, ``taken`` uses it
    up. ``vouch`` keeps the ID token that a session was opened with, ``vouched`` returns it.
    ``forget`` destroys what has ended and what no key opens any more.
    Raises Problem PC9002 when the store cannot be used, PC6005 for what was altered.
    """

    def find(self, holding: Holding) -> tuple[Grant, Secret] | None: ...
    def put(self, grant: Grant, token: Secret) -> str: ...
    def claim(self, grant_id: str, version: int, now: float, until: float) -> bool: ...
    def renew(self, grant: Grant, token: Secret | None, now: float) -> bool: ...
    def remove(self, grant_id: str) -> tuple[Grant, Secret | None] | None: ...
    def all(
        self, upstream: str = "", application: str = "", user: str = ""
    ) -> tuple[Grant, ...]: ...
    def offer(self, digest: str, link: Link, now: float) -> None: ...
    def offered(self, digest: str, now: float) -> Link | None: ...
    def taken(self, digest: str, now: float) -> Link | None: ...
    def vouch(self, session: str, user: str, id_token: Secret, until: float) -> None: ...
    def vouched(self, session: str, user: str, now: float) -> Secret | None: ...
    def forget(self, now: float) -> None: ...
