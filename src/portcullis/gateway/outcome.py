"""What the line decided on one call."""

from __future__ import annotations

from typing import Final

import msgspec

from portcullis.core.call import Call, RiskClass
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow, Deny, Finding, Hold

PENDING: Final = "PC3040"
"""The code of a call that waits for a human."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call is held, and what it would be granted by."""

    hold: Hold
    granted: Allow


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. ``call`` is what may be forwarded, ``event`` the id of its record.

    A call that the line holds is denied (``PENDING``) for as long as nobody says otherwise.
    """

    verdict: Allow | Deny
    call: Call
    event: str
    check: str = ""
    findings: tuple[Finding, ...] = ()
    held: Held | None = None
    used: list[str] = []
    """The credentials that were sent for it; see ``core.secret_use``."""

    @property
    def risk(self) -> RiskClass:
        """The risk class; what nobody classified is in the highest."""
        return self.verdict.risk or RiskClass.DELETE


class Recorded(Problem):
    """A Problem that the log already holds: it is answered, not recorded again."""


def recorded(deny: Deny) -> Recorded:
    """The Problem that stands for a refusal of the line."""
    problem = Recorded(deny.code, deny.reason)
    problem.approval = deny.approval
    problem.retry_after = deny.retry_after
    problem.over = deny.over
    return problem
