"""What the line decided on one call."""

from __future__ import annotations

import msgspec

from portcullis.core.call import Call, RiskClass
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow, Deny, Finding


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. ``call`` is what may be forwarded, ``event`` the id of its record."""

    verdict: Allow | Deny
    call: Call
    event: str
    check: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def risk(self) -> RiskClass:
        """The risk class; what nobody classified is in the highest."""
        return self.verdict.risk or RiskClass.DELETE


class Recorded(Problem):
    """A Problem that the log already holds: it is answered, not recorded again."""
