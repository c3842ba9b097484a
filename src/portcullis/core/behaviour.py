"""How unusual an agent behaves, in the words that policy and people use."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

import msgspec

from portcullis.core.errors import Problem


class RiskLevel(StrEnum):
    """What an agent's risk score comes to, from the least to the highest."""

    NORMAL = "normal"
    ELEVATED = "elevated"
    HIGH = "high"
    CRITICAL = "critical"


LEVELS: Final = {level: rank for rank, level in enumerate(RiskLevel)}


class RiskLevels(Protocol):
    """The risk levels of agents as last scored: O(1), in memory, asked on every call.

    An agent that is not known, or has not been scored, is ``normal``.
    """

    def level(self, agent: str) -> RiskLevel:
        """How risky the agent is now."""
        ...


class Phase(StrEnum):
    """How far the baseline of an agent is.

    LEARNING: everything that qualifies teaches; only gross deviations score. RATIFIED: a human said
    that what was learned is as it should be; whoever learns has yet to take its anchor. LOCKED: the
    baseline holds, and moves only slowly and not far from its anchor. DRIFTING: what the agent does
    has moved away from the anchor; nothing teaches until it is back or a human ratifies it.
    """

    LEARNING = "learning"
    RATIFIED = "ratified"
    LOCKED = "locked"
    DRIFTING = "drifting"


class Verb(StrEnum):
    """What leads from one phase to another; ``ratify`` and ``reset`` are a human's."""

    RATIFY = "ratify"
    RESET = "reset"
    ANCHOR = "anchor"
    DRIFT = "drift"
    RETURN = "return"


TRANSITIONS: Final[dict[tuple[Phase, Verb], Phase]] = {
    (Phase.LEARNING, Verb.RATIFY): Phase.RATIFIED,
    (Phase.LOCKED, Verb.RATIFY): Phase.RATIFIED,  # what is new since is as it should be, too
    (Phase.DRIFTING, Verb.RATIFY): Phase.RATIFIED,  # and so is where it drifted to
    (Phase.RATIFIED, Verb.ANCHOR): Phase.LOCKED,  # the learner has seen the human's word
    (Phase.LOCKED, Verb.DRIFT): Phase.DRIFTING,
    (Phase.DRIFTING, Verb.RETURN): Phase.LOCKED,
    (Phase.LEARNING, Verb.RESET): Phase.LEARNING,
    (Phase.RATIFIED, Verb.RESET): Phase.LEARNING,
    (Phase.LOCKED, Verb.RESET): Phase.LEARNING,
    (Phase.DRIFTING, Verb.RESET): Phase.LEARNING,
}
"""What may follow what. ``ratified`` is not ratified twice, and never drifts: it has no anchor."""

ENFORCED: Final = frozenset({Phase.RATIFIED, Phase.LOCKED, Phase.DRIFTING})
"""The phases in which a level is acted on in full; before, it is ``elevated`` at most."""

PREFIX: Final = "behaviour."
"""What is done about a baseline is an event called this and the verb."""


def after(phase: Phase, verb: Verb) -> Phase:
    """The phase that ``verb`` leads to. Raises Problem PC3091 when it leads nowhere."""
    found = TRANSITIONS.get((phase, verb))
    if found is None:
        raise Problem("PC3091", f"{verb} does not apply to a baseline that is {phase}")
    return found


class Kind(StrEnum):
    """What about an agent is unusual."""

    TOOL = "tool"
    DESTINATION = "destination"
    SHAPE = "shape"
    ORDER = "order"
    OUTCOME = "outcome"
    SOURCE = "source"
    HOURS = "hours"
    SIZE = "size"
    VOLUME = "volume"
    REFUSALS = "refusals"
    ACCESS = "access"
    DRIFT = "drift"
    BOUND = "bound"
    ROLE = "role"


GROSS: Final = frozenset({Kind.BOUND, Kind.ROLE})
"""What scores also while an agent's own baseline is still being learned."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is unusual: names, figures and counts, never content.

    ``subject`` is what it is about (a tool, an argument, an hour); ``seen`` and ``usual`` say so
    for people; ``weight`` is what it added to the score when it was last seen, at ``at`` (seconds
    since the epoch), ``count`` how often.
    """

    kind: Kind
    subject: str
    seen: str
    usual: str
    weight: float
    at: float
    count: int = 1


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """The scores from which on a level holds, and the hours in which a score halves."""

    elevated: float = 30.0
    high: float = 60.0
    critical: float = 100.0
    half_life_hours: float = 4.0

    def decayed(self, score: float, seconds: float) -> float:
        """What is left of a score after some time."""
        half_lives = seconds / (3600.0 * self.half_life_hours)
        return score if half_lives <= 0 else float(score * 0.5**half_lives)

    def level(self, score: float, phase: Phase) -> RiskLevel:
        """What a score comes to in a phase."""
        if score < self.elevated:
            return RiskLevel.NORMAL
        if score < self.high or phase not in ENFORCED:
            return RiskLevel.ELEVATED
        return RiskLevel.HIGH if score < self.critical else RiskLevel.CRITICAL


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent stands: ``score`` as it was at ``scored_at``, with the reasons then.

    ``turn`` counts the human's words about it; ``events`` is how many taught, on how many ``days``.
    Times are seconds since the epoch, 0 for not yet.
    """

    agent: str
    role: str = ""
    phase: Phase = Phase.LEARNING
    turn: int = 0
    score: float = 0.0
    scored_at: float = 0.0
    reasons: tuple[Reason, ...] = ()
    first: float = 0.0
    last: float = 0.0
    events: int = 0
    days: int = 0
    by: str = ""
    why: str = ""
    decided_at: float = 0.0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what a baseline says is usual, for people."""

    subject: str
    usual: str


class BehaviourStore(Protocol):
    """Where standings and baselines are. Every method blocks."""

    def list(self) -> tuple[Standing, ...]:
        """All of them, by the agent's name."""
        ...

    def get(self, agent: str) -> Standing | None:
        """One agent's, if it was ever seen."""
        ...

    def usual(self, agent: str) -> tuple[Line, ...]:
        """What the baseline said when it was last kept."""
        ...

    def decide(self, agent: str, turn: int, phase: Phase, *, by: str, why: str, at: float) -> bool:
        """Put a human's word in place: False when it is not at ``turn`` any more."""
        ...
