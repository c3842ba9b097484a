"""What agents were allowed, by the projection of the logs: the set *used* of a review."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, func, select

from portcullis.core.call import Action
from portcullis.core.event import EventType
from portcullis.review.grants import Used
from portcullis.store.tables import AUDIT_EVENTS, AUDIT_POSITIONS

_DECISIONS: Final = (EventType.DECISION, EventType.TOOL_CALL, EventType.LLM_CALL)
_REACHES: Final = (Action.TOOL, Action.MODEL, Action.RESOURCE, Action.PROMPT, Action.EGRESS)


class SqlUsed:
    """Counts over SQL, so that no log is read. Every method blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def log_from(self) -> float | None:
        """When the first event happened that is projected; None when there is none."""
        query = select(func.min(AUDIT_EVENTS.c.at))
        with self._engine.connect() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else float(found)

    def used(self, since: float) -> tuple[Used, ...]:
        """Allowed calls since a time (seconds since the epoch), by agent and thing."""
        row = AUDIT_EVENTS.c
        what = (row.principal, row.action, row.server, row.name)
        query = (
            select(*what, func.count(), func.min(row.at), func.max(row.at))
            .join(AUDIT_POSITIONS, row.log == AUDIT_POSITIONS.c.log)
            .where(
                row.number >= 0,
                row.number < AUDIT_POSITIONS.c.next,
                row.at >= since,
                row.verdict == "allow",
                row.type.in_(_DECISIONS),
                row.action.in_(_REACHES),
            )
            .group_by(*what)
            .order_by(*what)
        )
        with self._engine.connect() as connection:
            return tuple(
                Used(
                    agent=agent,
                    action=action,
                    server=server,
                    name=name,
                    count=count,
                    first=first,
                    last=last,
                )
                for agent, action, server, name, count, first, last in connection.execute(query)
            )
