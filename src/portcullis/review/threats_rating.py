"""How bad a threat is: impact by what is reached, likelihood by who reaches it, both by rule.

The rules are few and written down (docs/threats.md), so that two people who look at one deployment
see the same, and a change of configuration changes it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from portcullis.core.call import RiskClass
from portcullis.core.containment import RISKS, Confidentiality
from portcullis.review.threats_scene import Scene
from portcullis.review.threats_where import Subject


class Impact(StrEnum):
    """What it would do, from the least to the most."""

    MINOR = "minor"
    MODERATE = "moderate"
    MAJOR = "major"
    CRITICAL = "critical"


class Likelihood(StrEnum):
    """How probable it is, from the least to the most."""

    RARE = "rare"
    UNLIKELY = "unlikely"
    POSSIBLE = "possible"
    LIKELY = "likely"


class Level(StrEnum):
    """Both together."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Coverage(StrEnum):
    """Whether the controls that are there for a threat act in this deployment: none, some, all."""

    UNCOVERED = "uncovered"
    PARTLY = "partly"
    COVERED = "covered"


IMPACTS: Final = tuple(Impact)
LIKELIHOODS: Final = tuple(Likelihood)
LEVELS: Final = {level: rank for rank, level in enumerate(Level)}
COVERAGES: Final = {coverage: rank for rank, coverage in enumerate(Coverage)}

_DISCLOSURE: Final = "information disclosure"
_OF_CLASS: Final = {
    RiskClass.READ: Impact.MINOR,
    RiskClass.MODIFY: Impact.MODERATE,
    RiskClass.EXTERNAL: Impact.MAJOR,
    RiskClass.DELETE: Impact.CRITICAL,
}
_OF_DATA: Final = {
    Confidentiality.PUBLIC: Impact.MINOR,
    Confidentiality.INTERNAL: Impact.MODERATE,
    Confidentiality.CONFIDENTIAL: Impact.MAJOR,
    Confidentiality.SECRET: Impact.CRITICAL,
}
_LESS: Final = {Coverage.UNCOVERED: 0, Coverage.PARTLY: 1, Coverage.COVERED: 2}
_FROM: Final = ((12, Level.CRITICAL), (8, Level.HIGH), (4, Level.MEDIUM))


def reached(scene: Scene, subject: Subject, stride: tuple[str, ...]) -> Impact:
    """The impact of what is reached: by the class of the tools, and of data that may get out.

    Without tools of its own, a subject reaches what its agent does.
    """
    seen = scene.by_name[subject.agent]
    if subject.tools:
        risk = max(map(scene.risk, subject.tools), key=RISKS.__getitem__)
    else:
        risk = scene.worst(seen)
    found = [_OF_CLASS[risk]]
    if _DISCLOSURE in stride:
        found.append(_OF_DATA[scene.private(seen)])
    return max(found, key=IMPACTS.index)


def before(likelihood: Likelihood, subject: Subject) -> Likelihood:
    """The likelihood before any control: a step more where outsiders reach the subject."""
    step = LIKELIHOODS.index(likelihood) + (1 if subject.opened else 0)
    return LIKELIHOODS[min(step, len(LIKELIHOODS) - 1)]


def after(likelihood: Likelihood, coverage: Coverage) -> Likelihood:
    """What is left of it: two steps less where all controls act, one where some do."""
    return LIKELIHOODS[max(LIKELIHOODS.index(likelihood) - _LESS[coverage], 0)]


def level(impact: Impact, likelihood: Likelihood) -> Level:
    """By the product of both, each counted from 1: from 12 critical, 8 high, 4 medium."""
    product = (IMPACTS.index(impact) + 1) * (LIKELIHOODS.index(likelihood) + 1)
    return next((name for least, name in _FROM if product >= least), Level.LOW)
