"""The life of an incident: one table of phases and the steps that lead from one to the next.

    open --contain--> contained --revoke--> revoked --rotate--> rotated --reaudit--> audited
      |                   |                                                       |       |
      +--- stand_down ----+--> stood_down                          reinstate <----+       +--> close

The steps have one order, and none can be left out: an agent that is let in again before its
credentials are worthless is the attacker let in again. Nothing leads back and nothing follows an
end: what happens again is another incident.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar, Final, Literal, TypeAlias

import msgspec

from portcullis.core.errors import Problem


class Phase(StrEnum):
    """How far the response is; the last three are ends."""

    OPEN = "open"
    """Somebody says that there is one; nothing is done yet."""
    CONTAINED = "contained"
    """It is killed or isolated in every gateway."""
    REVOKED = "revoked"
    """Nothing that it held proves who it is any more."""
    ROTATED = "rotated"
    """What it could have learned or used of others' secrets is worth nothing."""
    AUDITED = "audited"
    """Somebody said of all that it did what it was."""
    REINSTATED = "reinstated"
    """It works again, as somebody new, on probation."""
    CLOSED = "closed"
    """Over, and it never works again under this name."""
    STOOD_DOWN = "stood_down"
    """It was a false alarm."""


class Step(StrEnum):
    """What is done about it."""

    CONTAIN = "contain"
    REVOKE = "revoke"
    ROTATE = "rotate"
    REAUDIT = "reaudit"
    REINSTATE = "reinstate"
    CLOSE = "close"
    STAND_DOWN = "stand_down"


TRANSITIONS: Final[dict[tuple[Phase, Step], Phase]] = {
    # First it has to stop: everything after takes time.
    (Phase.OPEN, Step.CONTAIN): Phase.CONTAINED,
    # A false alarm; what is not undone by itself yet can be taken back.
    (Phase.OPEN, Step.STAND_DOWN): Phase.STOOD_DOWN,
    (Phase.CONTAINED, Step.STAND_DOWN): Phase.STOOD_DOWN,
    # Then nobody may come back in its name, from wherever its credentials are by now.
    (Phase.CONTAINED, Step.REVOKE): Phase.REVOKED,
    # Only then are the others' secrets changed: before, it could have learned the new ones.
    (Phase.REVOKED, Step.ROTATE): Phase.ROTATED,
    # Its history is complete now, since it can add nothing to it.
    (Phase.ROTATED, Step.REAUDIT): Phase.AUDITED,
    # Whoever decides knows now what it did.
    (Phase.AUDITED, Step.REINSTATE): Phase.REINSTATED,
    (Phase.AUDITED, Step.CLOSE): Phase.CLOSED,
}
"""What may follow what."""

ENDS: Final = frozenset({Phase.REINSTATED, Phase.CLOSED, Phase.STOOD_DOWN})
"""Nothing follows these."""
OPEN: Final = tuple(phase for phase in Phase if phase not in ENDS)
"""Somebody still has to do something about it."""
ORDER: Final = (Step.CONTAIN, Step.REVOKE, Step.ROTATE, Step.REAUDIT, Step.REINSTATE)
"""The way through."""
_DUE: Final = {before: step for step in ORDER for (before, verb) in TRANSITIONS if verb is step}


def after(phase: Phase, step: Step) -> Phase:
    """The phase that ``step`` leads to. Raises Problem PC7061 that names the step that is due."""
    found = TRANSITIONS.get((phase, step))
    if found is None:
        due = due_of(phase)
        said = f"{step} cannot be done of an incident that is {phase}"
        raise Problem("PC7061", f"{said}; {due} is due" if due else f"{said}; it is over")
    return found


def due_of(phase: Phase) -> Step | None:
    """The step that is due, None after the end. Instead of ``reinstate`` it may be closed."""
    return _DUE.get(phase)


SubjectKind: TypeAlias = Literal["agent", "session"]
Containing: TypeAlias = Literal["kill", "quarantine"]
SourceKind: TypeAlias = Literal["hand", "kill", "alert"]
Verdict: TypeAlias = Literal["benign", "harm", "unknown"]
"""What somebody says that a finding was."""


class Subject(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Whom it is about: an agent, or one ``session`` of its and nothing else of it."""

    agent: str
    session: str = ""

    @property
    def kind(self) -> SubjectKind:
        """What it is."""
        return "session" if self.session else "agent"

    @property
    def value(self) -> str:
        """The name of the agent, or the id of the session."""
        return self.session or self.agent

    @property
    def name(self) -> str:
        """What people call it: ``agent:NAME`` or ``session:ID``."""
        return f"{self.kind}:{self.value}"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What it was opened by: somebody's hand, a kill or an alert, and that one's id."""

    kind: SourceKind = "hand"
    id: str = ""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A step that was done, or begun: ``ended_at`` is 0 until all of it has acted.

    Times are seconds since the epoch; ``by`` is ``operator:NAME``. ``facts`` are what came of it,
    in names and figures and without content: who acknowledged, what was cut, what was tried.
    """

    step: Step
    at: float
    by: str
    reason: str
    ended_at: float = 0.0
    facts: dict[str, Any] = {}


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wrote down on the way."""

    at: float
    by: str
    text: str


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """A credential that the subject could have learned or used.

    ``reference`` names it (``file:crm-key``), never says it; ``source`` is the part before the
    colon, ``upstream`` what it opens. ``why`` is how it could be reached, for people; ``used`` when
    the subject's calls last used it, in seconds since the epoch, 0 when the log knows of none.
    ``hook`` says whether its source can be told to rotate it.
    """

    reference: str
    source: str
    upstream: str
    why: str
    used: float = 0.0
    hook: bool = False


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """What came of rotating one credential.

    ``rotated``: its source says so. ``verified``: it was read again, and is another. ``fault`` is
    the code of what went wrong, ``detail`` the same for people, without the value.
    """

    reference: str
    rotated: bool
    verified: bool
    fault: str = ""
    detail: str = ""


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential that has to be seen to, and what became of it.

    Settled when it is rotated and verified, or when somebody said by hand what is done about it.
    """

    access: Access
    rotated: Rotated | None = None
    by: str = ""
    reason: str = ""
    at: float = 0.0

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do about it."""
        whole = self.rotated is not None and self.rotated.rotated and self.rotated.verified
        return whole or bool(self.reason)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the log says of the subject and a human has to judge: a group of events.

    ``id`` is short and one within its incident. ``kind``, ``name`` (a tool, a model) and ``code``
    are what the group has in common; ``text`` says it for people, in names and figures. The first
    and the last of ``count`` events stand at ``first`` and ``last`` of ``log``, at these times.
    """

    id: str
    kind: str
    log: str
    first: int
    last: int
    first_at: float
    last_at: float
    text: str
    name: str = ""
    code: str = ""
    count: int = 1


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """The findings, as drawn once. ``digest`` is ``digest_of`` them.

    ``sizes`` say, by log, how many entries were read. ``beyond`` is how many groups there were that
    are not among them, because there are too many: they are one more finding, so that nobody
    overlooks them.
    """

    digest: str
    findings: tuple[Finding, ...]
    sizes: dict[str, int] = {}
    beyond: int = 0


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A finding, and what somebody said that it was; ``verdict`` is empty until then."""

    finding: Finding
    verdict: Verdict | Literal[""] = ""
    by: str = ""
    reason: str = ""
    at: float = 0.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A reinstatement that somebody proposed and a second person has yet to approve.

    ``days`` and ``factor`` are of the probation: for so many days, so much of each limit.
    """

    at: float
    by: str
    reason: str
    days: int
    factor: float
    approved_by: str = ""
    approved_at: float = 0.0
    approval_reason: str = ""


class Ticked(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a playbook's checklist that somebody says is done."""

    id: str
    at: float
    by: str
    reason: str = ""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as it stands. Times are seconds since the epoch, 0 for not yet.

    ``since`` is how far back its history is looked at, ``until`` how far on: 0 until the identity
    is revoked, after which there is no more of it. ``containing`` is how it is contained, and
    ``made`` whether the incident itself did so (and it was not so before). ``steps`` are those
    begun, in order; at most the last has not ended. ``credentials`` are known from ``rotate`` on,
    ``findings`` (with ``digest`` and ``sizes`` as in ``Drawn``) from ``reaudit`` on. ``turn``
    counts changes. Until ``probation_until`` it has ``asked.factor`` of each limit. ``plan`` is the
    playbook as it was when it was opened: what has to be done does not change on the way.
    """

    id: str
    subject: Subject
    playbook: str
    opened_at: float
    by: str
    reason: str
    since: float
    source: Source = Source()
    until: float = 0.0
    phase: Phase = Phase.OPEN
    containing: Containing = "kill"
    made: bool = False
    steps: tuple[Done, ...] = ()
    notes: tuple[Note, ...] = ()
    ticked: tuple[Ticked, ...] = ()
    credentials: tuple[Credential, ...] | None = None
    findings: tuple[Judged, ...] | None = None
    digest: str = ""
    sizes: dict[str, int] = {}
    asked: Asked | None = None
    probation_until: float = 0.0
    plan: Playbook | None = None
    turn: int = 1

    @property
    def due(self) -> Step | None:
        """The step that is due, None after the end. A session is not reinstated but closed."""
        due = due_of(self.phase)
        return Step.CLOSE if due is Step.REINSTATE and self.subject.session else due

    @property
    def unsettled(self) -> tuple[Credential, ...]:
        """The credentials that something is left to do about."""
        return tuple(one for one in self.credentials or () if not one.settled)

    @property
    def unjudged(self) -> tuple[Judged, ...]:
        """The findings of which nobody said what they were."""
        return tuple(one for one in self.findings or () if not one.verdict)

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.phase in ENDS

    def step(self, step: Step) -> Done | None:
        """What was done of a step, None when it was not begun."""
        return next((one for one in self.steps if one.step is step), None)


class PlaybookStep(msgspec.Struct, frozen=True, kw_only=True):
    """What a playbook says of one step: ``checklist`` is text by id (``STEP.NAME``)."""

    step: str
    guidance: str = ""
    checklist: dict[str, str] = {}


class Playbook(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be thought of. ``steps`` are the five, in their order.

    Whoever is reinstated has ``factor`` of each limit for so many ``days``. What a step's checklist
    names has to be ticked before the next one is taken, that of ``reinstate`` before it is asked;
    but nothing keeps ``contain`` and ``revoke`` waiting.
    """

    DAYS: ClassVar[int] = 14
    FACTOR: ClassVar[float] = 0.5

    name: str
    title: str
    containing: Containing = "kill"
    days: int = DAYS
    factor: float = FACTOR
    steps: tuple[PlaybookStep, ...] = ()

    def step(self, step: Step) -> PlaybookStep:
        """What it says of a step."""
        found = (one for one in self.steps if one.step == step)
        return next(found, PlaybookStep(step=step.value))

    def before(self, step: Step) -> dict[str, str]:
        """What has to be ticked before a step is taken."""
        if step in {Step.CONTAIN, Step.REVOKE, Step.STAND_DOWN}:
            return {}
        many = len(ORDER) - 1 if step is Step.CLOSE else ORDER.index(step)
        earlier = ORDER[: many + (step is Step.REINSTATE)]
        return {item: text for one in earlier for item, text in self.step(one).checklist.items()}


def digest_of(findings: Iterable[Finding]) -> str:
    """The digest of findings in this order: ``sha256:`` hex over their deterministic JSON."""
    told = msgspec.json.encode(tuple(findings), order="deterministic")
    return f"sha256:{hashlib.sha256(told).hexdigest()}"
