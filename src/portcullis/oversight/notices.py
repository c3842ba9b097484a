"""What a channel is to be told, and when: the life of a notice, without any I/O.

A call that is held opens a notice; calls of the same agent, tool and risk that are held within a
minute come under the same one. Every step is written down before the next: a draft is on record
before it is sent, and that it was told after the channel has taken it. What dies between the two
is sent again, under the same id and as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

import msgspec

from portcullis.config.notifications import AnyChannel, EmailChannel, SlackChannel
from portcullis.core.approval import Approval, State
from portcullis.core.call import Action
from portcullis.core.names import HIDDEN
from portcullis.core.notice import WAITING, Happening, Message, Notice, Subject
from portcullis.core.notice_ports import Filing

GATHER_SECONDS: Final = 60.0
"""For so long after its opening a notice takes up calls of the same kind."""
MOST: Final = 50
"""Most calls under one notice."""
GIVE_UP_SECONDS: Final = 86_400.0
GIVE_UP_ATTEMPTS: Final = 400
"""Failures of one telling: about as many as a day holds, for a clock that was set back."""
FROZEN: Final = "frozen:"
"""What the subjects begin with that are agents and no approvals."""

_OVER: Final = frozenset({State.DENIED, State.EXPIRED, State.CANCELLED, State.CONSUMED})
_PENDING: Final = (Happening.ESCALATED, Happening.REMINDED, Happening.REQUESTED)
_replace = msgspec.structs.replace


def stage(approval: Approval) -> str:
    """How far an approval has come."""
    if approval.state is not State.PENDING:
        return approval.state
    if approval.escalated_at:
        return Happening.ESCALATED
    return Happening.REMINDED if approval.reminded_at else Happening.REQUESTED


def wants(channel: AnyChannel, of: Approval | Notice) -> bool:
    """Whether a channel is told of such a call at all."""
    return (
        of.risk in channel.risks
        and _any(channel.agents, of.agent)
        and _any(channel.servers, of.server)
    )


def wants_agent(channel: AnyChannel, agent: str) -> bool:
    """Whether a channel is told that this agent may not ask any more."""
    return Happening.FROZEN in channel.tell and _any(channel.agents, agent)


def place(channel: AnyChannel) -> str:
    """Where a channel leads, as far as what it answers is good for that place alone."""
    if isinstance(channel, SlackChannel) and channel.token is not None:
        return f"slack {channel.api} {channel.channel}"
    return f"email {channel.sender}" if isinstance(channel, EmailChannel) else channel.kind


def subject(channel: AnyChannel, approval: Approval) -> Subject | None:
    """What the channel is told of an approval as it is now; None for nothing yet."""
    told = _told_stage(channel, approval)
    if not told:
        return None
    decided = told in {State.APPROVED, State.DENIED}
    return Subject(
        id=approval.id,
        stage=told,
        expires_at=approval.expires_at,
        by=approval.decided_by if decided and "operator" in channel.details else "",
        reason=approval.reason if decided and "reason" in channel.details else "",
    )


def _told_stage(channel: AnyChannel, approval: Approval) -> str:
    """Of the stages that it has reached, the last that the channel is told of."""
    if approval.state is not State.PENDING and Happening.SETTLED in channel.tell:
        # that an approved call has run is for the agent's log; here, it was approved
        return State.APPROVED if approval.state is State.CONSUMED else approval.state
    reached = {
        Happening.REQUESTED: True,
        Happening.REMINDED: bool(approval.reminded_at),
        Happening.ESCALATED: bool(approval.escalated_at),
    }
    return next((one for one in _PENDING if reached[one] and one in channel.tell), "")


def filing(
    name: str, channel: AnyChannel, approval: Approval, now: float, spacing: float
) -> Filing:
    """What is to be noted of an approval that has come further.

    ``spacing`` is how many seconds lie at least between two tellings of more than one call.
    """
    found, wanted = subject(channel, approval), wants(channel, approval)

    def opened(new: Subject) -> Notice:
        return Notice(
            id=notice_id(name, approval.id),
            channel=name,
            agent=approval.agent,
            action=approval.action,
            server=approval.server,
            name=approval.name if approval.action == Action.TOOL else HIDDEN,
            risk=approval.risk,
            why=approval.why,
            opened_at=now,
            next_at=now,
            due_since=now,
            subjects=(new,),
        )

    return Filing(
        subject=approval.id,
        stage=stage(approval),
        over=approval.state in _OVER,
        gathers=_gathers(approval),
        since=now - GATHER_SECONDS,
        filed=partial(_filed, found, opened, now, spacing, wanted=wanted),
    )


def frozen_filing(name: str, agent: str, now: float, *, lifted: bool) -> Filing:
    """What is to be noted of an agent that may ask no more, or may again."""
    what = "lifted" if lifted else "frozen"

    def opened(new: Subject) -> Notice:
        return Notice(
            id=notice_id(name, f"{FROZEN}{agent}:{now}"),
            channel=name,
            agent=agent,
            opened_at=now,
            next_at=now,
            due_since=now,
            subjects=(new,),
        )

    return Filing(
        subject=FROZEN + agent,
        stage=what,
        over=lifted,
        gathers=FROZEN + agent,
        since=now,
        filed=partial(_filed, Subject(id="", stage=what), opened, now, 0.0),
    )


def _filed(
    new: Subject | None,
    opened: Callable[[Subject], Notice],
    now: float,
    spacing: float,
    notice: Notice | None,
    *,
    wanted: bool = True,
) -> Notice | None:
    """The notice with ``new`` in it; another one when it takes up no more.

    What is not ``wanted`` any more is only brought to the end of what was told of it.
    """
    if new is None:
        return notice
    if notice is not None and any(one.id == new.id for one in notice.subjects):
        subjects = tuple(new if one.id == new.id else one for one in notice.subjects)
    elif not wanted:
        return notice
    elif notice is None or notice.opened_at > now:  # opened before the clock was set back
        return opened(new)
    elif len(notice.subjects) < MOST and (waiting(notice.subjects) or not notice.told_at):
        subjects = (*notice.subjects, new)
    else:
        return opened(new)
    return _due(_replace(notice, subjects=subjects), now, spacing)


def _due(notice: Notice, now: float, spacing: float) -> Notice:
    """The notice, to be told if the channel does not know it as it is."""
    if notice.state == "due" or notice.subjects == notice.told:
        return notice
    at = min(max(now, notice.told_at + spacing), now + spacing) if len(notice.subjects) > 1 else now
    return _replace(notice, state="due", next_at=at, due_since=now, attempts=0)


def drafted(
    now: float, origin: str, channel: AnyChannel, notice: Notice, *, wanted: bool = True
) -> Notice:
    """The notice with what is to be told now, by what the channel is told by now.

    A draft that may be on its way already stays, unless it says what is told no more. Of what was
    never told, and is not wanted any more, there is none.
    """
    if notice.draft and notice.draft == _plainer(channel, notice.draft):
        return notice
    wanted = wanted and (not notice.action or wants(channel, notice))
    if not (notice.told or notice.draft) and not wanted:
        return _replace(notice, subjects=(), state="told", due_since=0.0)
    subjects = _plainer(channel, notice.subjects)
    return _replace(
        notice,
        subjects=subjects,
        draft=subjects,
        drafted_at=now,
        origin=origin,
        turn=notice.turn + 1,
    )


def reference(channel: AnyChannel, notice: Notice) -> str:
    """By what the channel knows the message; nothing when it led elsewhere then."""
    return notice.reference if notice.place == place(channel) else ""


def delivered(said: str, at: str, now: float, spacing: float, notice: Notice) -> Notice:
    """The notice after the channel has taken the draft, and ``said`` by what it knows it ``at``."""
    told = _replace(
        notice,
        told=notice.draft,
        told_at=now,
        draft=(),
        reference=said,
        place=at,
        attempts=0,
        fault="",
        due_since=0.0,
        state="told",
    )
    return _due(told, now, spacing)


def put_off(fault: str, at: float, notice: Notice) -> Notice:
    """The notice after an attempt that failed, when its draft may have arrived all the same."""
    return _replace(notice, fault=fault, next_at=at, attempts=notice.attempts + 1)


def withdrawn(fault: str, at: float, notice: Notice) -> Notice:
    """The same, when its draft has certainly not arrived: then it is drafted anew."""
    back = _replace(notice, draft=(), turn=notice.turn - 1)
    return put_off(fault, at, back)


def hopeless(notice: Notice, now: float) -> bool:
    """Whether another failure of its telling is the last."""
    late = now - notice.due_since > GIVE_UP_SECONDS
    return (late and notice.attempts > 0) or notice.attempts + 1 >= GIVE_UP_ATTEMPTS


def given_up(fault: str, now: float, spacing: float, notice: Notice) -> Notice:
    """The notice that is told no more, unless something changes, or has since it was drafted."""
    failed = _replace(
        notice, told=notice.draft, draft=(), fault=fault, state="failed", due_since=0.0
    )
    return _due(failed, now, spacing)


def message(notice: Notice) -> Message:
    """What is sent of a notice that is drafted."""
    return Message(
        id=f"{notice.id}-{notice.turn}",
        thread=notice.id,
        turn=notice.turn,
        agent=notice.agent,
        subjects=notice.draft,
        at=notice.drafted_at,
        origin=notice.origin,
        action=notice.action,
        server=notice.server,
        name=notice.name,
        risk=notice.risk,
        why=notice.why,
        alert=notice.alert,
    )


def waiting(subjects: Iterable[Subject]) -> int:
    """How many of them wait for a decision."""
    return sum(one.stage in WAITING for one in subjects)


def _plainer(channel: AnyChannel, subjects: tuple[Subject, ...]) -> tuple[Subject, ...]:
    """The subjects without the details that the channel is not told."""
    operator, reason = ("operator" in channel.details, "reason" in channel.details)
    return tuple(
        _replace(one, by=one.by if operator else "", reason=one.reason if reason else "")
        for one in subjects
    )


def _any(globs: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, one) for one in globs)


def _gathers(approval: Approval) -> str:
    parts = (approval.agent, approval.action, approval.server, approval.name, approval.risk)
    return "\n".join((*parts, approval.why))


def notice_id(channel: str, subject_id: str) -> str:
    """The id of a channel's notice that a subject opens: always the same."""
    return hashlib.sha256(f"{channel}\n{subject_id}".encode()).hexdigest()[:32]
