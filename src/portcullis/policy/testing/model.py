"""What a case asks and expects, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from portcullis.core.call import Call, Context, RiskClass
from portcullis.core.obligation import Scalar
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.source import Place

PRODUCTION: Final = "production"
"""Where a case is decided that does not say it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a case holds to be right. What is None may be anything.

    ``rule`` is what the deciding rule's path begins with. ``masks`` are the columns that an
    obligation masks, as policy writes them, each with its treatment; ``log`` the arguments that it
    writes down, ``approvers`` the people whom it asks, ``rows`` the values of which records may be
    seen, by what policy calls them. ``limits`` are the ``resource_limits`` of the agent's role.
    ``visible`` are names of a list.
    """

    verdict: Literal["allow", "deny"] | None = None
    code: str | None = None
    rule: str | None = None
    risk: RiskClass | None = None
    masks: dict[str, str] | None = None
    log: frozenset[str] | None = None
    approvers: int | None = None
    rows: dict[str, frozenset[Scalar]] | None = None
    limits: dict[str, int] | None = None
    visible: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One question to a policy, with its answer.

    ``at`` is seconds since the epoch, None for whenever it is run. ``names`` are what a list would
    show if policy hid nothing of it.
    """

    name: str
    place: Place
    call: Call
    context: Context
    expected: Expected
    environment: str = PRODUCTION
    at: float | None = None
    names: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy answered to a case. ``wrong`` is empty when that is what was expected."""

    case: str
    origin: str
    verdict: Allow | Deny
    visible: tuple[str, ...] | None = None
    wrong: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it is what was expected."""
        return not self.wrong


class Ruled(msgspec.Struct, frozen=True, kw_only=True):
    """A ``test_`` rule, and whether it holds; ``skipped`` is one that is still to be written."""

    rule: str
    origin: str
    passed: bool
    skipped: bool = False
