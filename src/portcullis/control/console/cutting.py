"""What stands against agents, for their pages; and forms that take back what they were made for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from portcullis.control.containment import Containment
from portcullis.control.kills import KILLS
from portcullis.control.observed import ObservedAgents
from portcullis.core.errors import Problem
from portcullis.core.feed import Kept
from portcullis.core.principal import Principal, PrincipalKind

PLACE: Final = "/containment"
"""The page that shows it all."""
_CHANGED: Final = "Look at the page again: it says what stands against it now."


@dataclass(frozen=True, slots=True)
class Against:
    """What stands against one agent: its own kill, one of its role or of all, its isolation.

    ``reason`` is why it is cut off, whatever by, its state too; empty when it is not.
    """

    reason: str = ""
    killed: Kept | None = None
    wider: str = ""
    isolated: Kept | None = None


class Cutting:
    """Asks the kill feed. That of an agent against which nothing stands costs next to nothing."""

    def __init__(self, feed: Containment, observed: ObservedAgents) -> None:
        self._feed = feed
        self.observed = observed

    def badges(self, agent: str) -> tuple[str, ...]:
        """What a list says of an agent beside its own state; from memory."""
        who = _agent(agent)
        found = (self._feed.reason(who, None), self._feed.isolated(who, None))
        words = zip(("killed", "quarantined"), found, strict=True)
        against = tuple(word for word, reason in words if reason is not None)
        return (*against, "observed") if self.observed.until(agent) else against

    async def against(self, agent: str, *, active: bool) -> Against:
        """What stands against an agent; ``active`` is its own state."""
        who = _agent(agent)
        reason = self._feed.reason(who, None) or ""
        if not reason and self._feed.isolated(who, None) is None:
            return Against()
        kept = {(one.scope, one.value, one.isolation): one for one in await self._feed.kept()}
        killed = kept.get(("agent", agent, False))
        wider = ""
        if reason and killed is None and active:
            wider = "everybody" if ("all", "*", False) in kept else "role"
        return Against(reason, killed, wider, kept.get(("agent", agent, True)))

    async def all(self) -> tuple[Kept, ...]:
        """All kills and isolations, those that only this process knows of before the others."""
        found = [one for one in await self._feed.kept() if one.isolation or one.scope in KILLS]
        return tuple(
            sorted(found, key=lambda one: (one.durable, -one.made_at, one.scope, one.value))
        )

    async def expect(
        self, form: Mapping[str, str], scope: str, value: str, *, isolation: bool = False
    ) -> None:
        """Raise Problem PC3055 when something else stands against it than the form was made for.

        The form says since when it stood. Where nothing stands any more, it is not for this to say.
        """
        for one in await self._feed.kept():
            same = (one.scope, one.value, one.isolation) == (scope, value, isolation)
            if same and form.get("since") != str(one.made_at):
                raise Problem("PC3055", f"{scope} {value} was cut off anew", hint=_CHANGED)


def _agent(name: str) -> Principal:
    """The agent with a credential that no rotation outdates."""
    return Principal(
        kind=PrincipalKind.AGENT,
        id=name,
        credential="",
        expires_at=math.inf,
        issued_at=math.inf,
    )
