"""The section about calls that wait for a human."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import Field

from portcullis.config.approvers import ApproverRule
from portcullis.config.common import Section


class Approvals(Section):
    """How long calls wait for a human, and who is told. Times are in seconds.

    What nobody approved within ``ttl_seconds``, or while its session lasts, expires. A held
    call's connection waits up to ``wait_seconds`` for the decision, at most ``waiting`` of them at
    once and ``waiting_per_agent`` of one agent; the others are told at once to come again. An agent
    has at most ``pending_per_agent`` calls waiting. After ``refusals`` denials within
    ``refusals_seconds`` it may ask for nothing more until an operator lifts that. Whoever is the
    session's user never approves, and its agent's owner only with ``owner_may_approve``; where the
    owner is one of ``teams``, none of its members. Of ``rules`` each that speaks of a call has to
    let the approver approve it; where none does, every approver may.
    ``remind_seconds`` and ``escalate_seconds`` after the request, events say that it still waits;
    None for never.
    """

    ttl_seconds: int = Field(default=86_400, ge=1, le=604_800)
    wait_seconds: float = Field(default=0, ge=0, le=600)
    waiting: int = Field(default=64, ge=1)
    waiting_per_agent: int = Field(default=8, ge=1)
    pending_per_agent: int = Field(default=32, ge=1)
    refusals: int = Field(default=3, ge=1)
    refusals_seconds: int = Field(default=86_400, ge=1)
    owner_may_approve: bool = False
    teams: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    rules: Annotated[tuple[ApproverRule, ...], Field(max_length=256)] = ()
    remind_seconds: int | None = Field(default=3600, ge=1)
    escalate_seconds: int | None = Field(default=14_400, ge=1)

    def model_post_init(self, context: object, /) -> None:
        """Rules have names of their own, and name teams that there are."""
        del context
        twice = [
            name for name, times in Counter(one.name for one in self.rules).items() if times > 1
        ]
        if twice:
            msg = f"rules: the name {twice[0]} occurs twice"
            raise ValueError(msg)
        for rule in self.rules:
            for team in rule.teams or ():
                if team not in self.teams:
                    msg = f"rules: {rule.name} names a team that approvals.teams does not"
                    raise ValueError(msg)
