"""The ports around approvals."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Protocol, TypeAlias

from portcullis.core.approval import Approval, Claimed, State, Verb
from portcullis.core.call import Call, Context
from portcullis.core.desk import ApprovalPage, Wanted
from portcullis.core.verdict import Allow, Deny, Hold

Told: TypeAlias = Literal["reminded", "escalated"]
"""What somebody is told of an approval that still waits."""


class ApprovalStore(Protocol):
    """Approvals, durable. Every method blocks; each is one transaction, whoever else writes.

    ``claim`` takes ``wanted`` (pending) and what is shown of it, sealed. Of the live approvals
    under the same binding: an approved one is consumed, by exactly one caller; a pending one
    waits; a denial stands until its time is over. Else ``wanted`` is kept, unless the agent is
    frozen or has ``most`` pending. Nothing whose ``expires_at`` is not after ``now`` counts.
    ``move`` applies a verb and returns the approval as it then is, or None when it is not in a
    state to which the verb applies; every verb destroys what was sealed, and approval needs time
    that is left. ``after`` is who must have endorsed it by then, "" for nobody. ``endorse`` notes
    who was the first of two to approve: of a pending one that nobody endorsed, whose time is not
    over; it stays pending. ``sealed`` is b"" once it is destroyed. ``mark`` says that somebody was
    reminded of those that are pending, or that they were escalated; returns of how many that was
    not said.
    ``list`` and ``page`` leave out what cannot be read; a page is by what is wanted of those whose
    time is not over, by indexes only. ``waiting`` counts the pending ones. ``due`` are, the oldest
    first, those whose time is over; ``untold`` the pending ones that were asked until then, whose
    time is not over, and of which nobody was told so. ``sessions`` are those of all that are
    pending or approved, ``of_session`` those of one session. ``changed`` are those that were asked,
    or came into their state, since then, in the order of these times.
    ``denials`` counts those of an agent, and of others on its behalf, that were denied since
    ``since`` or since it was last lifted; ``freeze`` and ``lift`` are False when the agent is
    frozen already, or is not.
    ``forget`` deletes what was settled before ``settled_before``; returns how many.
    """

    def claim(self, wanted: Approval, sealed: bytes, *, most: int, now: float) -> Claimed: ...
    def get(self, approval_id: str) -> Approval | None: ...
    def sealed(self, approval_id: str) -> bytes: ...
    def list(self, states: Collection[State], limit: int) -> tuple[Approval, ...]: ...
    def page(self, wanted: Wanted, cursor: str, limit: int, now: float) -> ApprovalPage: ...
    def waiting(self, now: float) -> int: ...
    def due(self, now: float, limit: int) -> tuple[Approval, ...]: ...
    def untold(self, kind: Told, until: float, now: float, limit: int) -> tuple[Approval, ...]: ...
    def sessions(self) -> tuple[str, ...]: ...
    def of_session(self, session: str) -> tuple[Approval, ...]: ...
    def changed(self, since: float, limit: int) -> tuple[Approval, ...]: ...
    def move(
        self,
        approval_id: str,
        verb: Verb,
        *,
        now: float,
        by: str = "",
        reason: str = "",
        after: str = "",
    ) -> Approval | None: ...
    def endorse(self, approval_id: str, *, now: float, by: str, reason: str) -> Approval | None: ...
    def mark(self, approvals: Collection[str], kind: Told, at: float) -> int: ...
    def denials(self, agent: str, since: float) -> int: ...
    def frozen(self) -> tuple[str, ...]: ...
    def freeze(self, agent: str, at: float) -> bool: ...
    def lift(self, agent: str, at: float) -> bool: ...
    def forget(self, settled_before: float) -> int: ...


class Approvals(Protocol):
    """What the line asks about a call that is held.

    ``ask`` gets the call in its final form, after every check, and the line's own ``granted``:
    it returns that with the approval's id when this call has just consumed it, and else a Deny
    (PC3040 while it waits). ``settled`` waits as long as is configured, and says whether the
    approval is there by then: all checks are then run again, and ``ask`` asked again. ``noted``
    takes note of every call that was decided, for those who approve later ones.
    """

    async def ask(
        self, call: Call, context: Context, hold: Hold, granted: Allow
    ) -> Allow | Deny: ...
    async def settled(self, approval_id: str, context: Context) -> bool: ...
    def noted(self, call: Call, context: Context, verdict: Allow | Deny) -> None: ...
