"""Approvals: what waits for a human, and its states.

An approval is for one exact call (``Approval.binding``), once, until its time is over. Who asked
never decides. What the approver sees (``Shown``) lies sealed until it is decided.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.core.principal import TaskBound


class State(StrEnum):
    """What an approval is. Only an approved one lets a call through, and only once."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CONSUMED = "consumed"


class Verb(StrEnum):
    """What is done to an approval.

    ``approve`` and ``deny`` are an operator's; ``consume`` is the agent's, with the same call
    again; ``expire`` is time's; ``cancel`` is the gate's, when the session is over.
    """

    APPROVE = "approve"
    DENY = "deny"
    EXPIRE = "expire"
    CANCEL = "cancel"
    CONSUME = "consume"


TRANSITIONS: Final[dict[tuple[State, Verb], State]] = {
    (State.PENDING, Verb.APPROVE): State.APPROVED,
    (State.PENDING, Verb.DENY): State.DENIED,
    (State.PENDING, Verb.EXPIRE): State.EXPIRED,
    (State.PENDING, Verb.CANCEL): State.CANCELLED,
    (State.APPROVED, Verb.CONSUME): State.CONSUMED,
    (State.APPROVED, Verb.DENY): State.DENIED,
    (State.APPROVED, Verb.EXPIRE): State.EXPIRED,
    (State.APPROVED, Verb.CANCEL): State.CANCELLED,
}
"""What may follow what. Nothing follows the other four; who approved may still take it back."""


def after(state: State, verb: Verb) -> State:
    """The state that ``verb`` leads to. Raises Problem PC3042 when it leads nowhere."""
    found = TRANSITIONS.get((state, verb))
    if found is None:
        raise Problem("PC3042", f"{verb} does not apply to an approval that is {state}")
    return found


def before(verb: Verb) -> tuple[State, ...]:
    """The states that ``verb`` applies to."""
    return tuple(state for state, applied in TRANSITIONS if applied is verb)


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One approval, without content.

    ``binding`` is the digest of the exact call with its caller and session. ``chain`` are those on
    whose behalf ``agent`` asks: what is denied to it is denied to them. ``name`` is what is
    called, ``?`` where that may be content; ``why`` it is held names fields and rules.
    ``decided_by`` is who approved or denied it, for ``reason``; where two people have to approve
    it, ``endorsed_by`` is the first of them, for ``endorsed_reason``. Times are seconds since the
    epoch, 0 for not yet: nothing is consumed from ``expires_at`` on, ``settled_at`` is when it came
    into its state.
    """

    id: str
    state: State
    binding: str
    agent: str
    session: str
    action: str
    server: str
    name: str
    risk: RiskClass
    created_at: float
    expires_at: float
    settled_at: float = 0.0
    decided_by: str = ""
    reason: str = ""
    reminded_at: float = 0.0
    escalated_at: float = 0.0
    chain: tuple[str, ...] = ()
    why: str = ""
    endorsed_by: str = ""
    endorsed_reason: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the session before this one: when, what, at what risk, and what became of it."""

    at: float
    what: str
    risk: str
    verdict: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the approver sees, and who may not be the approver (``user``, ``agent``'s owner).

    ``arguments`` are those that the tool would get; of any other call, ``request`` is what would
    be sent. ``agents`` are the caller and those on whose behalf it acts. ``prompts`` is all that
    the user said. ``grant`` is None where the task declared no tools; ``bounds`` are those that it
    declared of this tool's arguments, by its qualified name. ``labels`` say how confidential the
    session is (``session``) and where the value of each argument comes from (``arguments.NAME``).
    ``approvers`` is how many people have to approve it.
    """

    agents: tuple[str, ...]
    application: str
    user: str
    prompts: tuple[str, ...]
    subject: dict[str, Any]
    grant: tuple[str, ...] | None
    bounds: dict[str, tuple[TaskBound, ...]]
    called: str
    method: str
    arguments: dict[str, Any]
    request: Any
    reason: str
    rule: str
    questions: tuple[str, ...]
    recent: tuple[Step, ...]
    labels: dict[str, str] = {}
    approvers: int = 1


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking: ``approval`` is the one that is new, known or consumed now.

    ``frozen``: the agent may not ask; ``full``: too many of its calls wait. Then it is None.
    """

    outcome: Literal["asked", "waits", "denied", "consumed", "frozen", "full"]
    approval: Approval | None = None
