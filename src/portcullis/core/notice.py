"""Notices: what people outside the gate are told of calls that wait for a human, and of alerts.

A notice is one message of one channel: it is told, and told again when what it is about has
changed. It holds names and no content: nothing of a call's arguments, nothing that a user said.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class Happening(StrEnum):
    """What a channel may be told of; ``settled`` is any end, ``frozen`` also that it is lifted."""

    REQUESTED = "requested"
    REMINDED = "reminded"
    ESCALATED = "escalated"
    SETTLED = "settled"
    FROZEN = "frozen"


WAITING = frozenset({Happening.REQUESTED, Happening.REMINDED, Happening.ESCALATED})
"""The stages in which a call waits for a decision."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """An approval or alert as a channel is told of it; or, with no id, that an agent may not ask.

    ``stage`` is one of ``WAITING``, or what came of it: approved, denied, expired, cancelled;
    frozen or lifted; of an alert its state, or escalated. ``by`` and ``reason`` are the
    operator's, empty unless the channel is told. ``count`` is how many events are behind an alert.
    """

    id: str
    stage: str
    expires_at: float = 0.0
    by: str = ""
    reason: str = ""
    count: int = 0


class About(msgspec.Struct, frozen=True, kw_only=True):
    """An alert's own words. ``group`` is what it is about, without what a caller chose."""

    rule: str
    title: str
    level: str
    at: float
    group: tuple[tuple[str, str], ...] = ()
    advice: str = ""
    playbook: str = ""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a channel. Times are seconds since the epoch, 0 for not yet.

    ``subjects`` is how things are, ``told`` what the channel knows, ``draft`` what is on its way
    since ``drafted_at``, perhaps there already, as its ``turn``, with links to the console at
    ``origin``. ``reference`` is by what the channel knows the message, at ``place``: a channel of
    the same name that leads elsewhere does not. ``next_at`` is when it is to be told, ``due_since``
    for how long that has been so. A ``failed`` one is told no more, unless something changes. One
    that is of an ``alert`` has that and one subject, and no call.
    """

    id: str
    channel: str
    agent: str
    opened_at: float
    subjects: tuple[Subject, ...]
    action: str = ""
    server: str = ""
    name: str = ""
    risk: str = ""
    why: str = ""
    alert: About | None = None
    told: tuple[Subject, ...] = ()
    told_at: float = 0.0
    draft: tuple[Subject, ...] = ()
    drafted_at: float = 0.0
    origin: str = ""
    turn: int = 0
    reference: str = ""
    place: str = ""
    attempts: int = 0
    next_at: float = 0.0
    due_since: float = 0.0
    fault: str = ""
    state: Literal["due", "told", "failed"] = "due"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One telling of a notice. ``id`` is the same whenever the same telling is sent again.

    ``thread`` is the notice's id, ``turn`` counts its tellings from 1. ``origin`` is the
    console's, for links, without a slash at its end.
    """

    id: str
    thread: str
    turn: int
    agent: str
    subjects: tuple[Subject, ...]
    at: float
    origin: str
    action: str = ""
    server: str = ""
    name: str = ""
    risk: str = ""
    why: str = ""
    alert: About | None = None
