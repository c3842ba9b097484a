"""What comes under one alert, and which silence keeps it quiet. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from portcullis.core.alert import (
    EVIDENCE,
    LEVELS,
    UNSILENCED,
    Alert,
    Found,
    Raised,
    Silence,
    State,
    Verb,
    after,
)

CROWD: Final = 100
"""So many new alerts of one rule within the time in which they gather; of more, one is made."""
KEPT: Final = 10
"""How many times as many of a rule that must not be missed."""


def gathers(found: Found | Alert) -> str:
    """What alerts that are one have in common: a digest of the rule and the group."""
    said = msgspec.json.encode([found.rule, found.group])
    return hashlib.sha256(said).hexdigest()


def takes(alert: Alert, raised: Raised, gather: float) -> bool:
    """Whether what is raised comes under an alert of the same rule and group.

    ``gather`` is for how many seconds after the last time; and after somebody took it on, however
    often it was raised since: who provokes a harmless one first hides no other. Nor does it come
    under a quieter one.
    """
    if alert.state is State.RESOLVED or alert.last_at <= raised.at - gather:
        return False
    if LEVELS[alert.level] < LEVELS[raised.level]:
        return False
    return alert.state is State.OPEN or alert.settled_at > raised.at - gather


def placed(raised: Raised, many: int, there: Callable[[Raised], bool]) -> Raised:
    """As what it is written down when there are so many new ones of the rule.

    As itself where there is such an alert, or room for another. Then by the first field of its
    group alone, if there are others and no caller chose it: nobody crowds out somebody else. Then
    it is about nobody in particular.
    """
    room = CROWD * (KEPT if raised.words.kept else 1)
    for share, one in enumerate((raised, _wider(raised)), 1):
        if there(one) or many < share * room:
            return one
    return _about(raised, ())


def wider(raised: Raised) -> tuple[Raised, Raised]:
    """As what else it may be written down."""
    return _wider(raised), _about(raised, ())


def _wider(raised: Raised) -> Raised:
    first = tuple(raised.group)[:1]
    return _about(raised, first if len(raised.group) > 1 else ())


def _about(raised: Raised, fields: tuple[str, ...]) -> Raised:
    ours = [name for name in fields if name not in raised.hidden]
    group = {name: raised.group[name] for name in ours}
    return msgspec.structs.replace(raised, group=group, hidden=())


def opened(raised: Raised, alert_id: str, now: float, silence: str) -> Alert:
    """A new alert."""
    return Alert(
        id=alert_id,
        rule=raised.rule,
        level=raised.level,
        words=raised.words,
        group=raised.group,
        hidden=raised.hidden,
        opened_at=now,
        first_at=raised.at,
        last_at=raised.at,
        events=raised.events[-EVIDENCE:],
        count=raised.count,
        silence=silence,
        quiet=raised.quiet,
        heard_at=0.0 if silence else now,
    )


def repeated(alert: Alert, raised: Raised, now: float, silence: str) -> Alert:
    """The alert, raised once more. Quiet only while it is silenced."""
    events = tuple(dict.fromkeys((*alert.events, *raised.events)))
    heard = bool(alert.silence) and not silence
    return msgspec.structs.replace(
        alert,
        hidden=tuple(dict.fromkeys((*alert.hidden, *raised.hidden))),
        last_at=max(alert.last_at, raised.at),
        events=events[-EVIDENCE:],
        count=alert.count + raised.count,
        turn=alert.turn + 1,
        silence=silence if alert.silence else "",
        quiet=raised.quiet,
        heard_at=now if heard else alert.heard_at,
    )


def ended(alert: Alert, now: float, reason: str) -> Alert:
    """The alert, which its rule says is over."""
    return msgspec.structs.replace(
        alert,
        state=after(alert.state, Verb.RESOLVE),
        turn=alert.turn + 1,
        by="",
        reason=reason,
        settled_at=now,
    )


def silenced(about: Raised | Alert, silences: Iterable[Silence]) -> str:
    """The id of a silence that is about it, or an empty string.

    A rule that is kept is silenced by its own name only, and the one about that by nothing.
    """
    if about.rule == UNSILENCED:
        return ""
    for one in silences:
        named = one.rule == about.rule
        if not named and (about.words.kept or not fnmatchcase(about.rule, one.rule)):
            continue
        if all(about.group.get(name) == value for name, value in one.matching.items()):
            return one.id
    return ""
