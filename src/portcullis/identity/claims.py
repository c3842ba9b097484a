"""What our tokens say: who acts (RFC 8693 section 4.1), for whom, with what, by which key.

The words ``sub``, ``act`` and ``may_act`` hold ``KIND:NAME``. The user of a session stands there
as ``user:`` and the session's id, a pseudonym: the agent that carries the token needs no name.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.scope import parse as parse_scope

MAX_ACTORS: Final = 4
"""Most agents that act for one another in one token."""

_NAME: Final = re.compile(r"(agent|application|operator):([a-z0-9][a-z0-9_-]{0,62})")
_ID: Final = re.compile(r"[0-9a-f]{32}")


class Confirmation(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The key that a token is bound to: a certificate (RFC 8705) or a DPoP key (RFC 9449)."""

    x5t: str | None = msgspec.field(default=None, name="x5t#S256")
    jkt: str | None = None


class Actor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An agent that acts, and whoever it took over from."""

    sub: str
    act: Actor | None = None


class Grant(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What a token gives to whom, apart from when and by whom it was issued.

    ``sub`` is on whose behalf; ``act`` who does it, if another. ``may_act`` makes the token a
    *delegation*: it is nobody's until the agent named there has shown itself. ``client_id`` is
    who got it. ``auth_time`` is when the chain of renewals began (OpenID Connect Core section 2).
    ``glass`` is the id under which an operator broke the glass for it (``core.break_glass``).
    """

    sub: str
    client_id: str
    auth_time: int
    scope: str | None = None
    sid: str | None = None
    roles: tuple[str, ...] = ()
    cnf: Confirmation | None = None
    act: Actor | None = None
    may_act: Actor | None = None
    glass: str = ""


class Claims(Grant, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that a token says; all of it is checked. Times are whole seconds since the epoch."""

    iss: str
    aud: str
    jti: str
    iat: int
    nbf: int
    exp: int

    def actors(self) -> tuple[str, ...]:
        """The names of the agents in ``act``, the current one first. Problem PC2052."""
        found: list[str] = []
        actor = self.act
        while actor is not None:
            kind, name = _named(actor.sub)
            if kind is not PrincipalKind.AGENT:
                raise Problem("PC2052", "only an agent acts for another")
            found.append(name)
            actor = actor.act
        return tuple(found)

    def chain(self) -> tuple[str, ...]:
        """All agents by whom the right to act came here, nearest first. Problem PC2052."""
        actors = self.actors()
        user = self.sid is not None and self.sub == f"user:{self.sid}"
        if user or not (self.act or self.may_act):
            return actors
        kind, name = _named(self.sub)
        if kind is not PrincipalKind.AGENT:
            raise Problem("PC2052", "nobody acts for an application or an operator")
        return (*actors, name)

    def principal(self) -> Principal:
        """Who acts by this token. Raises Problem PC2052, or PC2002 for what we never write."""
        chain = self.chain()
        if self.may_act is not None:
            if self.may_act.act is not None or self.cnf is not None:
                raise Problem("PC2052", "a delegation names one agent and is bound to no key")
            kind, name = _named(self.may_act.sub)
            if kind is not PrincipalKind.AGENT:
                raise Problem("PC2052", "only an agent acts for another")
            depth = len(self.actors()) + 1
        elif self.act is not None:
            kind, name, chain = PrincipalKind.AGENT, chain[0], chain[1:]
            depth = len(self.actors())
        else:
            kind, name = _named(self.sub)
            depth = 0
        if depth > MAX_ACTORS:
            raise Problem("PC2052", f"more than {MAX_ACTORS} agents act for one another")
        if self.cnf is not None and (self.cnf.x5t is None) == (self.cnf.jkt is None):
            raise Problem("PC2002", "cnf does not name one key")
        if not _ID.fullmatch(self.jti):
            raise Problem("PC2002", "jti is not in our form")
        return Principal(
            kind=kind,
            id=name,
            credential=self.jti,
            expires_at=self.exp,
            session=self.sid,
            roles=self.roles,
            issued_at=int(self.jti[:12], 16) / 1000,
            scope=None if self.scope is None else parse_scope(self.scope),
            chain=chain,
            break_glass=self.glass,
        )


def _named(subject: str) -> tuple[PrincipalKind, str]:
    match = _NAME.fullmatch(subject)
    if match is None:
        raise Problem("PC2002", "a principal is not named in our form")
    return PrincipalKind(match[1]), match[2]
