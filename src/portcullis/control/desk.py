"""The operator's desk: what waits, what it is like, and how far it would reach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from portcullis.control.live import Feed
from portcullis.control.records import Records
from portcullis.core.approval import Approval, Shown
from portcullis.core.approval_ports import ApprovalStore
from portcullis.core.call import Action, Context
from portcullis.core.containment import ToolModel
from portcullis.core.desk import MOST, ApprovalPage, Reach, Similar, Wanted
from portcullis.core.desk_ports import ActivityStore, Precedents
from portcullis.core.names import HIDDEN
from portcullis.core.ports import Clock
from portcullis.oversight.differences import differences
from portcullis.oversight.radius import radius

COMPARED: Final = "approval.compared"

Meaning: TypeAlias = Callable[[str, str], ToolModel | None]
"""What the policy in force says that a tool of a server means; None for one not listed."""


def unlisted(server: str, tool: str) -> None:
    """Where no policy is at hand, nothing is known of any tool."""
    del server, tool


@dataclass(frozen=True, slots=True)
class DeskParts:
    """What the desk stands on: one ``feed`` in a process."""

    activity: ActivityStore
    precedents: Precedents
    feed: Feed


class Desk:
    """Reads approvals for operators; ``Approving`` decides. ``route`` is as in ``Principals``."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        precedents: Precedents,
        meaning: Meaning,
        records: Records,
        clock: Clock,
        route: str,
    ) -> None:
        self._store = store
        self._precedents = precedents
        self._meaning = meaning
        self._records = records
        self._clock = clock
        self._route = route

    async def approvals(self, wanted: Wanted, cursor: str = "", limit: int = 50) -> ApprovalPage:
        """A page of at most ``MOST`` approvals whose time is not over.

        Raises Problem PC3051 for a cursor that is none of ours.
        """
        most, now = max(1, min(limit, MOST)), self._clock.now()
        return await asyncio.to_thread(self._store.page, wanted, cursor, most, now)

    async def waiting(self) -> int:
        """How many approvals wait."""
        return await asyncio.to_thread(self._store.waiting, self._clock.now())

    async def similar(self, context: Context, approval: Approval, shown: Shown) -> Similar | None:
        """The last approved call of this agent, server and name that went ahead.

        None when none is known. That it is read is durable before it is returned. Raises Problem
        PC6005 when what was kept was altered.
        """
        if approval.action != Action.TOOL or approval.name == HIDDEN:
            return None
        found = await asyncio.to_thread(
            self._precedents.find, approval.agent, approval.server, approval.name
        )
        if found is None:
            return None
        await self._records.act(
            context,
            COMPARED,
            approval.id,
            route=self._route,
            parameters={"event": found.event, "agent": approval.agent, "session": approval.session},
            approval=approval.id,
        )
        same, told = await asyncio.to_thread(differences, found.arguments, shown.arguments)
        return Similar(event=found.event, at=found.at, same=same, differences=told)

    def radius(self, approval: Approval, shown: Shown) -> tuple[Reach, ...]:
        """How far the call would reach, the gravest first."""
        return radius(approval, shown, self._meaning(approval.server, shown.called))
