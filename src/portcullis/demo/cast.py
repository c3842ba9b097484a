"""Who is on stage, and what they remember from scene to scene."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from portcullis.client import Gate
from portcullis.core.event import Event
from portcullis.demo.agent import Proposed, SupportAgent
from portcullis.demo.ledger import Ledger
from portcullis.demo.stage import Stage

AGENT, SECOND = "support-agent-prod-001", "support-agent-prod-002"
APPLICATION: Final = "helpdesk"
CUSTOMER, OTHER = "C-1001", "C-1002"


@dataclass(slots=True)
class Cast:
    """Who is on stage, and what they remember from scene to scene."""

    stage: Stage
    ledger: Ledger
    before_write: list[Event]
    """The log as it was on disk at the moment when the ticket system was asked to write."""
    held: bytes
    """A signed checkpoint of the log from before the story."""
    exits: AsyncExitStack
    """Closes the clients and the side processes."""
    application: Gate = field(init=False)
    own: Gate = field(init=False)
    """The gate under the agent's SVID."""
    base: str = ""
    """The agent's side process: all that its clients know."""
    token: str = ""
    """The session's token, which the agent acts under; worth nothing to anyone else."""
    agent: SupportAgent = field(init=False)
    second: Gate = field(init=False)
    """The gate under another agent's SVID."""
    proposed: tuple[Proposed, ...] = ()

    @property
    def url(self) -> str:
        """The gate's plain listener, for this machine."""
        return self.stage.gate.gate_url
