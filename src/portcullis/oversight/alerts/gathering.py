"""What comes under one alert, and which silence keeps it quiet. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from portcullis.core.alert import EVIDENCE, LEVELS, Alert, Raised, Silence

CROWD: Final = 100
"""So many new alerts of one rule within the time in which they gather; of more, one is made."""


def gathers(raised: Raised) -> str:
    """What alerts that are one have in common: a digest of the rule and the group."""
    said = msgspec.json.encode([raised.rule, raised.group])
    return hashlib.sha256(said).hexdigest()


def crowded(raised: Raised) -> Raised:
    """The same as one of very many: it is about nobody in particular any more."""
    return msgspec.structs.replace(raised, group={}, hidden=())


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
    )


def repeated(alert: Alert, raised: Raised, silence: str) -> Alert:
    """The alert, raised once more. As loud as it ever was; quiet only while it is silenced."""
    events = tuple(dict.fromkeys((*alert.events, *raised.events)))
    return msgspec.structs.replace(
        alert,
        level=max(alert.level, raised.level, key=LEVELS.__getitem__),
        last_at=max(alert.last_at, raised.at),
        events=events[-EVIDENCE:],
        count=alert.count + raised.count,
        turn=alert.turn + 1,
        silence=silence if alert.silence else "",
    )


def silenced(raised: Raised, silences: Iterable[Silence]) -> str:
    """The id of a silence that is about it, or an empty string.

    A rule that is kept is silenced by its own name only.
    """
    for one in silences:
        named = one.rule == raised.rule
        if not named and (raised.words.kept or not fnmatchcase(raised.rule, one.rule)):
            continue
        if all(raised.group.get(name) == value for name, value in one.matching.items()):
            return one.id
    return ""
