"""The audit event, version 1: one leaf of the log. It never holds sensitive content.

An allowed call leaves two leaves: its decision before it acts (``tool_call``, ``llm_call``, or
``decision`` for everything else) and its result after (``tool_result``, ``llm_result``,
``result``), joined by ``decision``. A refusal leaves one; so does a call that waits for a human
(``hold``), and what becomes of its ``approval`` is ``admin``. Malformed and unauthenticated
requests are ``error``; what operators and applications do is ``admin``.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

NOT_REQUIRED: Final = "not_required"
"""In place of an approval's id: the call was allowed without one."""
OBSERVED: Final = "OBSERVED@policy"
"""The finding of a call that no grant allowed, let through because its agent is being observed."""


class EventType(StrEnum):
    """What happened."""

    DECISION = "decision"
    TOOL_CALL = "tool_call"
    LLM_CALL = "llm_call"
    RESULT = "result"
    TOOL_RESULT = "tool_result"
    LLM_RESULT = "llm_result"
    ERROR = "error"
    ADMIN = "admin"
    IDENTITY = "identity"


class ResultSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came back, without content: size, outcome, how it ended; and what a connection sent."""

    bytes: int
    error: bool = False
    finish: str | None = None
    proposals: int = 0
    chunks: int = 0
    sent: int = 0


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One leaf. Field order is the order on disk; absent fields are at their default.

    ``parameters`` holds the fields that the catalogue names as clear; ``commitments`` maps each
    other field, and ``request``, ``user`` and ``subject``, to ``hmac-sha256:`` hex under the
    subject's key (``user`` under the user's own): equal values show as equal, and only whoever
    holds the key can guess them; when it is destroyed, nobody can.
    ``proposed_by`` is the id of the ``llm_call`` whose answer proposed this tool call.
    ``looked_up_for`` is the id of the call for whose sake the gate itself made this one.
    ``review`` says that policy let a call of high risk pass without a human: somebody is to look at
    it afterwards.
    ``observed`` says that no grant of the policy allowed it: the agent was being observed.
    ``secrets`` are the credentials that were sent for the call, as ``REFERENCE@VERSION``: a
    version is a keyed digest of the value.
    ``sequence`` counts the events of a session from one on; the log gives it, and a gate that
    starts begins anew.
    """

    v: int
    id: str
    time: datetime
    type: EventType
    gateway: str
    trace_id: str = ""
    principal_kind: str = ""
    principal: str = ""
    credential: str = ""
    session: str = ""
    application: str = ""
    source: str = ""
    route: str = ""
    action: str = ""
    method: str = ""
    server: str = ""
    name: str = ""
    parameters: dict[str, Any] = {}
    commitments: dict[str, str] = {}
    request_bytes: int = 0
    features: tuple[str, ...] = ()
    risk: str = ""
    verdict: str = ""
    check: str = ""
    code: str = ""
    rule: str = ""
    reason: str = ""
    findings: tuple[str, ...] = ()
    approval: str = ""
    review: bool = False
    observed: bool = False
    policy: str = ""
    decision: str = ""
    proposed_by: str = ""
    looked_up_for: str = ""
    result: ResultSummary | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: str = ""
    secrets: tuple[str, ...] = ()
    sequence: int = 0

    def finding_types(self) -> tuple[str, ...]:
        """The types in ``findings`` (each is ``TYPE[:treatment]@place``), each once, in order."""
        types = (one.partition("@")[0].partition(":")[0] for one in self.findings)
        return tuple(dict.fromkeys(types))
