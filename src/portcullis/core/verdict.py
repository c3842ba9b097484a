"""Verdicts are values; an exception is a fault, and a fault in a check is a deny."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from portcullis.core.call import RiskClass
from portcullis.core.egress import EgressTerms
from portcullis.core.limit_told import Exceeded
from portcullis.core.obligation import Obligations


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something a check saw, by type and place, never with its content.

    ``treatment`` says what was done about it (``core.inspection.Treatment``).
    """

    type: str
    where: str
    treatment: str = ""


class Allow(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing against it. The check that grants says by which ``rule`` and at what ``risk``.

    ``clear`` names the top-level arguments whose values may stand in the log in clear;
    ``policy`` is the digest of the policy that decided, empty where no policy did. ``approval`` is
    the id of the approval that this call consumed, if it needed one. ``egress`` is on what terms
    a connection may go out. ``obligations`` are what the grant asks of the gate, None for nothing.
    ``observed``: no grant says so, but the agent is being observed.
    """

    rule: str = ""
    reason: str = ""
    risk: RiskClass | None = None
    clear: tuple[str, ...] = ()
    policy: str = ""
    approval: str = ""
    egress: EgressTerms | None = None
    obligations: Obligations | None = None
    observed: bool = False


class Deny(msgspec.Struct, frozen=True, kw_only=True):
    """No. ``code`` is a key of ``core.codes``; ``reason`` names fields and rules, not content.

    ``policy`` is as in Allow; ``approval`` is what the call waits for, or who decided against it.
    ``retry_after`` is in how many seconds it may be otherwise, 0 where nobody can say.
    ``over`` is the limit that says so, if it is one.
    """

    code: str
    reason: str
    rule: str = ""
    risk: RiskClass | None = None
    policy: str = ""
    findings: tuple[Finding, ...] = ()
    approval: str = ""
    retry_after: int = 0
    over: Exceeded | None = None


class Transform(msgspec.Struct, frozen=True, kw_only=True):
    """Yes, but in this form: ``payload`` replaces the call's or the result's payload.

    On a request ``arguments`` are the tool's arguments within the new payload.
    """

    payload: Any
    arguments: dict[str, Any] | None = None
    findings: tuple[Finding, ...] = ()


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Not without a human: the call waits until somebody approved exactly it.

    ``reason`` says why, naming fields and rules and not content; ``questions`` are what an approver
    has to answer, and may quote values: they are sealed with the call, and so are ``labels``, which
    say what is known of where values come from. ``risk`` can raise what
    policy says of the call, never lower it. ``then`` is the form in which it may go on. Checks
    after this one still judge the call, and a Deny of any of them stands. ``approvers`` is how many
    people have to say yes.
    """

    reason: str
    questions: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    rule: str = ""
    risk: RiskClass | None = None
    findings: tuple[Finding, ...] = ()
    then: Transform | None = None
    approvers: int = 1


Verdict: TypeAlias = Allow | Deny | Transform | Hold

PASS = Allow()
"""What a check answers that has nothing to say."""
