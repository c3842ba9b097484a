"""Review afterwards: what policy let pass at a high risk, without a human, and what it was.

An entry is a call's decision in a log, flagged there (``Event.review``). What people do about it is
recorded too, so the queue can be made anew from the logs at any time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType


class State(StrEnum):
    """What an entry is. It is open until somebody says what the call was."""

    OPEN = "open"
    CLOSED = "closed"


class Disposition(StrEnum):
    """What a call was: as it should be, an error, against the rules, or an attack that worked."""

    EXPECTED = "expected"
    MISTAKE = "mistake"
    MISUSE = "misuse"
    INCIDENT = "incident"


class Verb(StrEnum):
    """What is done about an entry; each is an event called ``review.`` and this."""

    CLOSE = "closed"
    REOPEN = "reopened"
    REMIND = "reminded"


PREFIX: Final = "review."
TRANSITIONS: Final[dict[tuple[State, Verb], State]] = {
    (State.OPEN, Verb.CLOSE): State.CLOSED,
    (State.CLOSED, Verb.REOPEN): State.OPEN,
}
"""What may follow what. Being reminded changes nothing."""


def after(state: State, verb: Verb) -> State:
    """The state that ``verb`` leads to. Raises Problem PC3049 when it leads nowhere."""
    found = TRANSITIONS.get((state, verb))
    if found is None:
        raise Problem("PC3049", f"an entry that is {state} cannot be {verb}")
    return found


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be looked at, as its event in ``log`` has it, and what was done about it.

    ``id`` is the event's. ``clear`` holds the arguments that the log shows, ``commitments`` are
    those of the event to everything else. ``turn`` counts how often it was closed and opened
    again. Times are seconds since the epoch, 0 for not yet.
    """

    id: str
    log: str
    at: float
    agent: str
    session: str
    application: str
    action: str
    server: str
    name: str
    risk: str
    rule: str
    clear: dict[str, Any]
    commitments: dict[str, str]
    state: State = State.OPEN
    disposition: str = ""
    decided_by: str = ""
    reason: str = ""
    settled_at: float = 0.0
    reminded_at: float = 0.0
    turn: int = 0

    @property
    def user(self) -> str:
        """The commitment to the session's user; empty outside a session."""
        return self.commitments.get("user", "")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the tool's arguments, those that the log shows first."""
        hidden = (name for name in self.commitments if name.startswith("arguments."))
        return (*self.clear, *(name.removeprefix("arguments.") for name in hidden))


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did about an entry; ``id`` is that of its event."""

    id: str
    entry: str
    turn: int
    at: float
    verb: Verb
    disposition: str
    by: str
    reason: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: of this state, agent and risk; None or empty for any."""

    state: State | None = None
    agent: str = ""
    risk: str = ""


def act_of(event: Event) -> Act | None:
    """What an event says was done about an entry; None when it is not about that."""
    said = event.parameters
    verb = event.method.removeprefix(PREFIX)
    if (
        event.type is not EventType.ADMIN
        or event.verdict != "allow"
        or verb == event.method
        or verb not in set(Verb)
    ):
        return None
    turn = said.get("turn")
    return Act(
        id=event.id,
        entry=event.name,
        turn=turn if isinstance(turn, int) else 0,
        at=event.time.timestamp(),
        verb=Verb(verb),
        disposition=str(said.get("disposition", "")),
        by=event.principal,
        reason=str(said.get("reason", "")),
    )


def entry_of(log: str, event: Event) -> Entry | None:
    """The entry that an event of ``log`` is; None when it is not flagged."""
    if not event.review or event.verdict != "allow":
        return None
    return Entry(
        id=event.id,
        log=log,
        at=event.time.timestamp(),
        agent=event.principal,
        session=event.session,
        application=event.application,
        action=event.action,
        server=event.server,
        name=event.name,
        risk=event.risk,
        rule=event.rule,
        clear=event.parameters,
        commitments=event.commitments,
    )
