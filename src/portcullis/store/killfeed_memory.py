"""What stands against whom, in memory: the part of the kill feed that is asked on every call.

Three layers say it: what acts already and the database may not have (``held``), what the database
has (``known``) and what another process pushed (``pushed``). Each key's answer is computed when one
of them changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, TypeVar

from portcullis.core.feed import EVERYONE, STOPPABLE, Standing
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.store.killfeed_rows import Key, Known

_Value = TypeVar("_Value", str, float)

ROTATED: Final = "its credentials were rotated"

_ALL: Final = ("all", EVERYONE)
_NOTHING: Final = Standing("", "")


class Standings:
    """Pure. ``settle`` after a change of one key, ``merge`` after a change of a layer.

    ``roles_of`` is the policy's; without it, cutting off a role cuts off every agent.
    """

    def __init__(self) -> None:
        self.known = Known()
        self.held = Known()
        self.pushed: dict[Key, Standing] = {}
        self.roles_of: Callable[[str], str | None] | None = None
        self.cut_roles: frozenset[str] = frozenset()
        self._reasons: dict[Key, str] = {}
        self._isolated: dict[Key, str] = {}
        self._rotated: dict[Key, float] = {}

    def reason(self, principal: Principal, session: Session | None) -> str | None:
        """Why the principal, its credential, those it acts for or its session is cut off."""
        if not (self._reasons or self._rotated):
            return None
        own = [(principal.kind.value, principal.id)]
        own += [("agent", delegator) for delegator in principal.chain]
        for key in (*own, *_keys(principal, session)):
            found = self._reasons.get(key)
            if found is not None:
                return found
        if principal.kind in STOPPABLE and _ALL in self._reasons:
            return self._reasons[_ALL]
        if self.cut_roles:
            found = self._by_role(principal, session)
            if found is not None:
                return found
        for key in own if self._rotated else ():
            if principal.issued_at < self._rotated.get(key, 0.0):
                return ROTATED
        return None

    def isolated(self, principal: Principal, session: Session | None) -> str | None:
        """Why the agent, those it acts for or its session is isolated."""
        if not self._isolated:
            return None
        keys = [("agent", agent) for agent in _agents(principal, session)]
        keys += [key for key in _keys(principal, session) if key[0] == "session"]
        return next((self._isolated[key] for key in keys if key in self._isolated), None)

    def settle(self, key: Key) -> None:
        """Bring one key up to date."""
        held, known = self.held, self.known
        pushed = self.pushed.get(key, _NOTHING)
        found = (
            held.cuts.get(key)
            or known.cuts.get(key)
            or held.states.get(key)
            or known.states.get(key)
            or pushed.reason
        )
        isolated = held.isolations.get(key) or known.isolations.get(key) or pushed.isolated
        rotated = max(held.rotated.get(key, 0.0), known.rotated.get(key, 0.0), pushed.rotated)
        _set(self._reasons, key, found)
        _set(self._isolated, key, isolated)
        _set(self._rotated, key, rotated)
        if key[0] == "role":
            self.cut_roles = _roles(self._reasons)

    def merge(self) -> bool:
        """Bring all of it up to date; whether anything else stands than before."""
        before = (self._reasons, self._isolated, self._rotated)
        held, known, pushed = self.held, self.known, self.pushed
        reasons = {key: one.reason for key, one in pushed.items() if one.reason}
        self._reasons = reasons | known.states | held.states | known.cuts | held.cuts
        isolated = {key: one.isolated for key, one in pushed.items() if one.isolated}
        self._isolated = isolated | known.isolations | held.isolations
        self._rotated = {key: one.rotated for key, one in pushed.items() if one.rotated}
        for some in (known.rotated, held.rotated):
            for key, at in some.items():
                self._rotated[key] = max(at, self._rotated.get(key, 0.0))
        self.cut_roles = _roles(self._reasons)
        return before != (self._reasons, self._isolated, self._rotated)

    def standing(self, key: Key) -> Standing:
        """All that stands against one key."""
        return Standing(
            *key,
            self._reasons.get(key, ""),
            self._isolated.get(key, ""),
            self._rotated.get(key, 0.0),
        )

    def standings(self) -> tuple[Standing, ...]:
        """All that stands against anybody."""
        keys = self._reasons.keys() | self._isolated.keys() | self._rotated.keys()
        return tuple(self.standing(key) for key in keys)

    def _by_role(self, principal: Principal, session: Session | None) -> str | None:
        agents = _agents(principal, session)
        if self.roles_of is None:
            roles: Collection[str] = self.cut_roles if agents else ()
        else:
            roles = {role for role in map(self.roles_of, agents) if role is not None}
        return next((self._reasons["role", role] for role in roles if role in self.cut_roles), None)


def _set(some: dict[Key, _Value], key: Key, value: _Value | None) -> None:
    if value:
        some[key] = value
    else:
        some.pop(key, None)


def _roles(reasons: Iterable[Key]) -> frozenset[str]:
    return frozenset(value for scope, value in reasons if scope == "role")


def _agents(principal: Principal, session: Session | None) -> list[str]:
    """The agent that acts, those on whose behalf, and the session's."""
    agents = [principal.id] if principal.kind is PrincipalKind.AGENT else []
    agents += principal.chain
    if session is not None:
        agents.append(session.agent)
    return agents


def _keys(principal: Principal, session: Session | None) -> list[Key]:
    """What else can be cut off so that the principal is: its credentials and its session."""
    keys = [("credential", principal.credential)]
    if principal.svid:
        keys.append(("credential", f"svid:{principal.svid}"))
    if principal.session is not None:
        keys.append(("session", principal.session))
    if session is not None:
        keys += [
            ("session", session.id),
            ("agent", session.agent),
            ("application", session.application),
        ]
    return keys
