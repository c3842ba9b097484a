"""The program with one of its promises taken out: what the model has to notice.

``python -c "from chaos.mutants import run; run('labels')" gateway ...``
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from portcullis.audit import log
from portcullis.cli import main
from portcullis.core.event import EventType
from portcullis.provenance.labels import Labels
from portcullis.store.approvals import SqlApprovals
from portcullis.store.killfeed import LocalKillFeed
from portcullis.store.killfeed_memory import Standings
from portcullis.store.labels import SqlLabels

_LATE = 4.0


def unrecorded() -> None:
    """Calls of tools go on, and their record follows after some seconds."""
    real = log.AuditLog.durable

    async def durable(self: Any, event: Any) -> None:
        if event.type is EventType.TOOL_CALL:
            asyncio.get_running_loop().call_later(_LATE, self.enqueue, event)
        else:
            await real(self, event)

    log.AuditLog.durable = durable


def deaf() -> None:
    """A gateway serves whether or not it knows who is cut off, and never hears who is."""
    LocalKillFeed.stale = lambda _: False
    Standings.reason = lambda *_: None


def forgetful() -> None:
    """What a session has read is known where it was read, and nowhere else."""
    known: dict[str, Labels] = {}

    async def read(_: Any, session: Any) -> Labels:
        return known.get(session.id, Labels())

    async def merge(self: Any, session: Any, more: Labels) -> Labels:
        known[session.id] = (await read(self, session)).merge(more)
        return known[session.id]

    SqlLabels.read, SqlLabels.merge = read, merge


def generous() -> None:
    """An approval is good as often as it is asked for."""
    real, given = SqlApprovals.claim, {}

    def claim(self: Any, wanted: Any, *rest: Any, **more: Any) -> Any:
        found = given.get(wanted.binding) or real(self, wanted, *rest, **more)
        if found.outcome == "consumed":
            given[wanted.binding] = found
        return found

    SqlApprovals.claim = claim


MUTANTS: dict[str, Callable[[], None]] = {
    "unrecorded": unrecorded,
    "deaf": deaf,
    "forgetful": forgetful,
    "generous": generous,
}


def program(*names: str) -> tuple[str, ...]:
    """The command that runs such a one."""
    return (sys.executable, "-c", f"from chaos.mutants import run; run(*{names!r})")


def run(*names: str) -> None:
    """Be the program, without these promises."""
    for name in names:
        MUTANTS[name]()
    main()
