"""ID tokens of OpenID Connect issuers (OpenID Connect Core 1.0, sections 2 and 3.1.3.7).

They vouch for people: for the user in whose name an application opens a session, and for
operators. A nonce is not looked for: whoever asked for the token has checked it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from portcullis.config.identity import Oidc
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.identity import jws
from portcullis.identity.foreign import MAX_TOKEN, ForeignClaims, Rules, read
from portcullis.identity.keyset import KeySource

CODE: Final = "PC2072"
ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA", "PS256"})
LOGIN_SECONDS: Final = 86_400
"""How long ago somebody may have logged in."""
MAX_SUBJECT: Final = 255
MAX_USER: Final = 256


class _Claims(ForeignClaims, frozen=True, kw_only=True):
    sub: str
    azp: str | None = None
    auth_time: float | None = None
    events: Any = None
    email: Any = None
    email_verified: Any = None


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an ID token is about. ``issuer`` is the issuer's name in our configuration.

    ``roles`` are the operator's roles that the issuer's groups stand for here; ``email`` is an
    address that the issuer has verified, or empty; ``expires_at`` is the token's.
    """

    issuer: str
    subject: str
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    expires_at: float
    email: str = ""

    @property
    def id(self) -> str:
        """``issuer:subject``: two issuers' people are never the same."""
        return f"{self.issuer}:{self.subject}"


class IdTokens:
    """Verifies the ID tokens of the configured issuers; ``keys`` has each one's by its name.

    One issuer may stand there several times, for several clients. Every refusal is Problem
    PC2072, whose detail says which rule was broken. ``skew`` is as in ``Rules``.
    """

    def __init__(
        self,
        issuers: Mapping[str, Oidc],
        *,
        keys: Mapping[str, KeySource],
        clock: Clock,
        skew: float,
    ) -> None:
        self._issuers = dict(issuers)
        self._keys = dict(keys)
        self._clock = clock
        self._skew = skew

    async def user(self, token: str) -> Person:
        """The user whom a token is about, if its issuer may vouch for users."""
        person = await self.person(token)
        if not self._issuers[person.issuer].users:
            raise Problem(CODE, "this issuer does not vouch for users")
        if len(person.id) > MAX_USER:
            raise Problem(CODE, f"issuer and sub are longer than {MAX_USER} characters")
        return person

    async def operator(self, token: str) -> Person:
        """The operator whom a token is about: one with at least one role."""
        person = await self.person(token)
        if not person.roles:
            raise Problem(CODE, "none of the groups stands for a role here")
        return person

    async def person(self, token: str) -> Person:
        """Whom a token is about."""
        parts = jws.split(token, code=CODE, most=MAX_TOKEN)
        name = self._entry(read(parts.payload, ForeignClaims, code=CODE))
        settings = self._issuers[name]
        rules = Rules(
            code=CODE,
            issuer=settings.issuer,
            audience=settings.client_id,
            algorithms=ALGORITHMS,
            skew=self._skew,
        )
        now = self._clock.now()
        await rules.hold(parts, self._keys[name], now)
        claims = read(parts.payload, _Claims, code=CODE)
        _hold(claims, settings.client_id, now, self._skew)
        groups = _groups(parts.payload.get(settings.roles_claim, ()))
        roles = {settings.operators[group] for group in groups if group in settings.operators}
        return Person(
            issuer=name,
            subject=claims.sub,
            groups=groups,
            roles=tuple(sorted(roles)),
            expires_at=claims.exp,
            email=_email(claims),
        )

    def _entry(self, said: ForeignClaims) -> str:
        """Which entry a token is for, by what it says itself, still unverified."""
        names = [name for name, one in self._issuers.items() if one.issuer == said.iss]
        if not names:
            raise Problem(CODE, "iss is no issuer of the configuration")
        ours = [name for name in names if self._issuers[name].client_id in said.audiences]
        return (ours or names)[0]


def _hold(claims: _Claims, client_id: str, now: float, skew: float) -> None:
    if claims.azp is not None and claims.azp != client_id:
        raise Problem(CODE, "azp is another client")
    if claims.azp is None and len(claims.audiences) > 1:
        raise Problem(CODE, "several audiences without azp")
    if claims.iat is None:
        raise Problem(CODE, "iat is missing")
    if now - claims.iat > LOGIN_SECONDS:
        raise Problem(CODE, "iat is more than 24 hours ago")
    if claims.auth_time is not None and not -skew <= now - claims.auth_time <= LOGIN_SECONDS:
        raise Problem(CODE, "auth_time is more than 24 hours ago, or yet to come")
    if claims.events is not None:
        raise Problem(CODE, "events make it a logout token, not an ID token")
    if not 0 < len(claims.sub) <= MAX_SUBJECT or not (
        claims.sub.isascii() and claims.sub.isprintable()
    ):
        raise Problem(CODE, f"sub is not 1 to {MAX_SUBJECT} printable ASCII characters")


def _email(claims: _Claims) -> str:
    """The address that the issuer says it has verified (section 5.1); one that is odd is none."""
    said = claims.email if claims.email_verified is True else ""
    plain = isinstance(said, str) and len(said) <= MAX_USER and said.isprintable()
    return said if plain else ""


def _groups(value: object) -> tuple[str, ...]:
    """The strings of a claim; one string counts as a list of one."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
        raise Problem(CODE, "the claim of the groups is not a list of strings")
    return tuple(values)
