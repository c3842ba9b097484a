"""What operators may do: the rights, the roles that are built in, and roles of one's own.

Every route of the control plane and every form of the console asks for one right. A role is a set
of rights; an operator has those of all of his roles. A role that nobody configured any more gives
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from portcullis.core.errors import Problem


class Right(StrEnum):
    """One thing that an operator may do (``MEANING`` says what)."""

    LOOK = "look"
    APPROVALS_DECIDE = "approvals.decide"
    APPROVALS_LIFT = "approvals.lift"
    REVIEWS_CLOSE = "reviews.close"
    INCIDENTS_LEAD = "incidents.lead"
    INCIDENTS_APPROVE = "incidents.approve"
    INCIDENTS_CLOSE = "incidents.close"
    KILL = "kill"
    KILL_LIFT = "kill.lift"
    QUARANTINE = "quarantine"
    QUARANTINE_LIFT = "quarantine.lift"
    SESSIONS_CLOSE = "sessions.close"
    GRANTS_REVOKE = "grants.revoke"
    PRINCIPALS_CUT = "principals.cut"
    PRINCIPALS_MANAGE = "principals.manage"
    OPERATORS_MANAGE = "operators.manage"
    GLASS_REVIEW = "glass.review"
    ALERTS_SETTLE = "alerts.settle"
    ALERTS_SILENCE = "alerts.silence"
    RELEASES_PROPOSE = "releases.propose"
    RELEASES_APPROVE = "releases.approve"
    RELEASES_ACTIVATE = "releases.activate"
    RELEASES_ROLLBACK = "releases.rollback"
    ACCESS_CERTIFY = "access.certify"
    ACCESS_REVOKE = "access.revoke"
    CATALOGUE_PIN = "catalogue.pin"
    BEHAVIOUR_JUDGE = "behaviour.judge"
    BREAKERS_RESET = "breakers.reset"
    SECRETS_ROTATE = "secrets.rotate"
    AUTHORITY_ROTATE = "authority.rotate"
    CONTENT_READ = "content.read"
    CONTENT_ERASE = "content.erase"
    CONTENT_HOLD = "content.hold"
    AUDIT_PRUNE = "audit.prune"
    GATEWAYS_RETIRE = "gateways.retire"
    BACKUP_MAKE = "backup.make"


MEANING: Final[Mapping[Right, str]] = MappingProxyType(
    {
        Right.LOOK: "see lists, figures and states, without content; every role has it",
        Right.APPROVALS_DECIDE: "read the calls that wait for a human, approve and deny them",
        Right.APPROVALS_LIFT: "let an agent ask again of which too much was denied",
        Right.REVIEWS_CLOSE: "look at calls of high risk afterwards, and say what they were",
        Right.INCIDENTS_LEAD: "open incidents, take their steps, which cut off whom they are"
        " about, and write notes",
        Right.INCIDENTS_APPROVE: "approve what somebody else proposed: that an agent comes back",
        Right.INCIDENTS_CLOSE: "propose a reinstatement and do it once it is approved, close"
        " incidents, which revokes the agent, and stand them down",
        Right.KILL: "kill an agent, a session, a role or everybody",
        Right.KILL_LIFT: "take a kill back",
        Right.QUARANTINE: "isolate an agent or a session",
        Right.QUARANTINE_LIFT: "end an isolation",
        Right.SESSIONS_CLOSE: "close a session in the console",
        Right.GRANTS_REVOKE: "take back the access to an upstream that a user granted",
        Right.PRINCIPALS_CUT: "suspend, revoke and rotate anybody, cut off one credential, end"
        " rights that somebody took for an emergency",
        Right.PRINCIPALS_MANAGE: "register agents and applications, review and resume them, say"
        " which workloads they are, get them tokens",
        Right.OPERATORS_MANAGE: "register operators, resume them, give them roles, passwords and"
        " names; never more rights than one has",
        Right.GLASS_REVIEW: "review what somebody else did with rights for an emergency",
        Right.ALERTS_SETTLE: "acknowledge and resolve alerts",
        Right.ALERTS_SILENCE: "silence alerts, and end that",
        Right.RELEASES_PROPOSE: "propose a release of policy",
        Right.RELEASES_APPROVE: "approve or reject a release that somebody else proposed",
        Right.RELEASES_ACTIVATE: "put an approved release into shadow, canary or force",
        Right.RELEASES_ROLLBACK: "go back to the release before",
        Right.ACCESS_CERTIFY: "review what agents may, and confirm it",
        Right.ACCESS_REVOKE: "take a grant of an agent's out of the policy",
        Right.CATALOGUE_PIN: "approve the definition of a tool",
        Right.BEHAVIOUR_JUDGE: "ratify what is usual for an agent, or have it learned anew",
        Right.BREAKERS_RESET: "close a circuit breaker",
        Right.SECRETS_ROTATE: "rotate a secret",
        Right.AUTHORITY_ROTATE: "rotate and retire the authority's keys, take its root offline",
        Right.CONTENT_READ: "read what is kept of a call's content",
        Right.CONTENT_ERASE: "erase what is kept of a person",
        Right.CONTENT_HOLD: "hold content back from erasure, and end that",
        Right.AUDIT_PRUNE: "prune the log",
        Right.GATEWAYS_RETIRE: "have a gateway of another host never serve again",
        Right.BACKUP_MAKE: "put backups on record",
    }
)
"""Each right in the words of the docs, which list them."""

ADMIN: Final = "admin"

BUILT_IN: Final[Mapping[str, frozenset[Right]]] = MappingProxyType(
    {
        "viewer": frozenset({Right.LOOK}),
        "approver": frozenset(
            {
                Right.LOOK,
                Right.APPROVALS_DECIDE,
                Right.REVIEWS_CLOSE,
                Right.INCIDENTS_APPROVE,
            }
        ),
        "responder": frozenset(
            {
                Right.LOOK,
                Right.INCIDENTS_LEAD,
                Right.KILL,
                Right.QUARANTINE,
                Right.SESSIONS_CLOSE,
                Right.GRANTS_REVOKE,
                Right.PRINCIPALS_CUT,
                Right.ALERTS_SETTLE,
                Right.RELEASES_ROLLBACK,
            }
        ),
        "investigator": frozenset({Right.LOOK, Right.CONTENT_READ}),
        ADMIN: frozenset(Right),
    }
)
"""The roles that are always there."""


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """The roles of a deployment: those that are built in, and its ``own``.

    ``apart`` are pairs of rights that nobody has at the same time: who would have both has the
    first. Who has one of the roles in ``may_raise`` can break the glass, and has ``raised`` beside
    his own for a while then.
    """

    own: dict[str, frozenset[Right]] = {}
    apart: tuple[tuple[Right, Right], ...] = ()
    may_raise: tuple[str, ...] = ()
    raised: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All roles, the built-in ones first."""
        return (*BUILT_IN, *sorted(self.own))

    def unknown(self, roles: Iterable[str]) -> tuple[str, ...]:
        """Those of these roles that there are not."""
        return tuple(sorted(set(roles).difference(self.names)))

    def given(self, roles: Iterable[str]) -> frozenset[Right]:
        """All rights that these roles give; none for a role that there is not."""
        found = (BUILT_IN.get(role) or self.own.get(role) for role in roles)
        rights = frozenset[Right]().union(*(one for one in found if one))
        return rights | {Right.LOOK} if rights else rights

    def rights(self, roles: Iterable[str]) -> frozenset[Right]:
        """What somebody with these roles may do: what they give, without what is kept apart."""
        given = self.given(roles)
        return given - {second for first, second in self.apart if {first, second} <= given}

    def reach(self, roles: Iterable[str]) -> frozenset[Right]:
        """All rights that somebody with these roles can come by, a broken glass included."""
        held = tuple(roles)
        raised = self.raised if set(self.may_raise).intersection(held) else ()
        return self.given((*held, *raised))

    def clash(self, roles: Iterable[str]) -> tuple[Right, Right] | None:
        """Two rights that these roles give and that nobody shall have both."""
        given = self.given(roles)
        return next((pair for pair in self.apart if given.issuperset(pair)), None)

    def having(self, *rights: Right) -> tuple[str, ...]:
        """The roles that give one of these rights."""
        return tuple(role for role in self.names if self.given((role,)).intersection(rights))

    def expect(self, roles: Iterable[str], *rights: Right) -> None:
        """Raise Problem PC2004, saying which roles do, unless ``roles`` give one of ``rights``."""
        held = tuple(roles)
        if self.rights(held).intersection(rights):
            return
        wanted, having = " or ".join(rights), ", ".join(self.having(*rights))
        clash = next((p for p in self.apart if p[1] in rights and self.given(held) >= {*p}), None)
        if clash is not None:
            detail = f"this needs the right {wanted}, which nobody has beside {clash[0]}"
            hint = "The configuration's rights_apart says so: let somebody else do it."
            raise Problem("PC2004", detail, hint=hint)
        hint = f"Roles that have it: {having}. `portcullis operator role` gives them."
        raise Problem("PC2004", f"this needs the right {wanted}", hint=hint)
