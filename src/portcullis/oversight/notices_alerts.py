"""What a channel is to be told of an alert, and when: one message, which is told again.

Where a message is amended it follows the count, at most once in ``COUNT_SECONDS``; where each
telling is another message, only what becomes of the alert is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from portcullis.config.notifications import AnyChannel
from portcullis.core.alert import LEVELS, Alert, Hears, Level, State
from portcullis.core.names import HIDDEN
from portcullis.core.notice import About, Notice, Subject
from portcullis.core.notice_ports import Filing
from portcullis.oversight.notices import notice_id

ALERT: Final = "alert:"
"""What the subjects begin with that are alerts."""
COUNT_SECONDS: Final = 15.0
ESCALATED: Final = "escalated"
"""The stage of an open alert of which others were told, because nobody took it on."""

_replace = msgspec.structs.replace


def alert_filing(
    name: str, channel: AnyChannel, alert: Alert, now: float, *, amends: bool
) -> Filing:
    """What is to be noted of an alert that is new, or of which something became."""
    new = _subject(channel, alert)
    fresh = Notice(
        id=notice_id(name, ALERT + alert.id),
        channel=name,
        agent="",
        opened_at=now,
        next_at=now,
        due_since=now,
        subjects=(new,),
        alert=_about(alert),
    )
    return Filing(
        subject=ALERT + alert.id,
        stage=str(alert.turn),
        over=alert.state is State.RESOLVED,
        gathers=ALERT + alert.id,
        since=now,
        filed=partial(_filed, new, fresh, now, amends=amends),
    )


def loud_enough(notice: Notice, hears: Sequence[Hears]) -> bool:
    """Whether a channel that hears of these alerts, or of none, is told of this one."""
    if notice.alert is None:
        return True
    rank = LEVELS[Level(notice.alert.level)]
    return any(rank >= one.least for one in hears)


def _filed(
    new: Subject, fresh: Notice, now: float, notice: Notice | None, *, amends: bool
) -> Notice | None:
    if notice is None:
        return fresh
    counted = bool(notice.subjects) and notice.subjects[0].stage == new.stage
    if counted and not amends:
        return notice
    after = _replace(notice, subjects=(new,))
    if notice.state == "due":
        put_off = notice.attempts > 0 or counted
        return after if put_off else _replace(after, next_at=min(now, notice.next_at))
    if after.subjects == notice.told:
        return after
    at = max(now, notice.told_at + COUNT_SECONDS) if counted else now
    return _replace(after, state="due", next_at=at, due_since=now, attempts=0)


def _subject(channel: AnyChannel, alert: Alert) -> Subject:
    settled = alert.state is not State.OPEN
    escalated = alert.escalated > 0 and not settled
    return Subject(
        id=alert.id,
        stage=ESCALATED if escalated else alert.state.value,
        by=alert.by if settled and "operator" in channel.details else "",
        reason=alert.reason if settled and "reason" in channel.details else "",
        count=alert.count,
    )


def _about(alert: Alert) -> About:
    words = alert.words
    return About(
        rule=alert.rule,
        title=words.title,
        level=alert.level.value,
        at=alert.first_at,
        group=tuple(
            (name, HIDDEN if name in alert.hidden else value) for name, value in alert.group.items()
        ),
        advice=words.advice,
        playbook=words.playbook,
    )
