"""What operators see of the whole: pages of approvals, decisions, agents and sessions.

No page holds content. Each has at most ``limit`` entries; ``following`` is the opaque cursor of
the next one, empty at the end. Times are seconds since the epoch, 0 for never.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from portcullis.core.approval import Approval, State
from portcullis.core.ports import PrincipalRecord

MOST: Final = 200
"""Most entries of one page."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which approvals: those in one of ``states`` for which all else holds that is not empty."""

    states: tuple[State, ...] = (State.PENDING,)
    agent: str = ""
    server: str = ""
    name: str = ""
    risk: str = ""
    session: str = ""


class ApprovalPage(msgspec.Struct, frozen=True, kw_only=True):
    """Approvals: the oldest first where only those that wait are wanted, else the newest first."""

    approvals: tuple[Approval, ...]
    following: str = ""


class SeenFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions. ``tool`` is a name, or ``SERVER.NAME``; ``until`` is exclusive."""

    agent: str = ""
    session: str = ""
    verdict: str = ""
    code: str = ""
    risk: str = ""
    tool: str = ""
    since: float | None = None
    until: float | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as it stands in a log: the entry ``number`` of the log called ``log``."""

    log: str
    number: int
    at: float
    type: str
    agent: str
    session: str
    action: str
    method: str
    server: str
    name: str
    risk: str
    verdict: str
    code: str
    trace: str
    approval: str = ""
    """The id of the one that it consumed or waits for."""


class SeenPage(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions, the newest first.

    A page may hold fewer than asked for, and none, although something follows: each looks at a
    bounded piece of the log.
    """

    decisions: tuple[Seen, ...]
    following: str = ""


class AgentsWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which agents: in this ``state`` of life, with a name that begins so."""

    state: str = ""
    name: str = ""


class AgentSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An agent: its registration, when it last asked for something, and what waits of it.

    ``frozen``: too much of what it asked was denied, it may ask for no approval.
    """

    record: PrincipalRecord
    last_seen: float
    frozen: bool
    waiting: int


class AgentPage(msgspec.Struct, frozen=True, kw_only=True):
    """Agents by name."""

    agents: tuple[AgentSeen, ...]
    following: str = ""


class SessionsWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which open sessions."""

    agent: str = ""
    application: str = ""


class SessionSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An open session, without content: not for whom it is, nor what was said in it."""

    id: str
    agent: str
    application: str
    opened_at: float
    expires_at: float
    last_seen: float


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Open sessions, the newest first."""

    sessions: tuple[SessionSeen, ...]
    following: str = ""


class AgentDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One agent with its newest decisions, what waits of it, and its newest open sessions."""

    agent: AgentSeen
    decisions: tuple[Seen, ...]
    approvals: tuple[Approval, ...]
    sessions: tuple[SessionSeen, ...]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of time: when it began, and how many calls were decided in it, and refused."""

    at: float
    calls: int
    refused: int


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How much an agent asked for lately, piece by piece of ``seconds`` each, the oldest first.

    Of an agent that asks for very much only the newest calls are counted: all of them from
    ``known`` on.
    """

    seconds: float
    known: float
    steps: tuple[Step, ...]


Grade = Literal["low", "medium", "high"]
"""How far a line of the blast radius should worry who approves."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the blast radius: ``what`` is reached, how much (``value``), how grave."""

    what: str
    value: str
    grade: Grade


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What differs at one place: ``path`` as in ``to`` or ``items[2].price``; texts are bounded.

    Where it was cut, a text begins or ends with an ellipsis; behind the path of a long one stands
    which of its places this is: ``body (last of at least 3 places)``.
    """

    path: str
    kind: Literal["added", "removed", "changed"]
    before: str
    after: str


class Precedent(msgspec.Struct, frozen=True, kw_only=True):
    """An approved call that went ahead: its event, when, and its arguments."""

    event: str
    at: float
    arguments: dict[str, Any]


class Similar(msgspec.Struct, frozen=True, kw_only=True):
    """The last call like this one that went ahead: its ``event``, when, and what differs.

    ``same`` is how many values do not differ.
    """

    event: str
    at: float
    same: int
    differences: tuple[Difference, ...]


LiveKind = Literal["approval", "decision", "result", "principal", "session", "admin", "resync"]
"""What an event is about; ``resync`` stands in place of those that a slow reader missed."""


class LiveEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is on record, without content. ``id`` only rises while the gate runs.

    ``at`` is seconds since the epoch. ``method`` is the wire operation, or what was done
    (``approval.requested``, ``principals.suspend``); ``state`` is what the approval is now.
    Of ``admin`` events ``operator`` is who acted.
    """

    id: int
    at: float
    kind: LiveKind
    event: str = ""
    agent: str = ""
    operator: str = ""
    session: str = ""
    action: str = ""
    method: str = ""
    server: str = ""
    name: str = ""
    risk: str = ""
    verdict: str = ""
    code: str = ""
    approval: str = ""
    state: str = ""


class LiveFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events: of these kinds (none: all) for which all else holds that is not empty."""

    kinds: tuple[LiveKind, ...] = ()
    agent: str = ""
    session: str = ""
    verdict: str = ""
    risk: str = ""
