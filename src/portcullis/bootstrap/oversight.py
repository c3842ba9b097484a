"""What holds calls for humans, put together; and its upkeep beside a running gate."""

from __future__ import annotations

import asyncio
import itertools
from typing import Final

import structlog

from portcullis.config.places import Role
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.gateway.records import new_id
from portcullis.oversight.asking import Asking
from portcullis.oversight.events import Events
from portcullis.oversight.keeping import Keeping
from portcullis.oversight.recent import Remembered

_LOOK_SECONDS: Final = 1.0
_FORGET_EVERY: Final = 3600

log = structlog.get_logger(__name__)


def asking(services: Services, steps: Remembered | None = None) -> Asking | None:
    """What the line asks about a held call; None where nothing can wait."""
    parts = services.approval_parts
    if parts is None:
        return None
    return Asking(
        store=parts.store,
        recorder=services.recorder,
        sealer=services.sealer,
        clock=services.clock,
        events=Events(services.gateway, services.clock, new_id),
        new_id=new_id,
        settings=parts.settings,
        key=parts.key,
        steps=steps,
    )


async def upkeep(services: Services) -> None:
    """Let what is due expire, every second, for ever; only who rules does."""
    parts = services.approval_parts
    if parts is None or not Role.of(services.gateway.rpartition("/")[2]).rules:
        return
    keeping = Keeping(
        store=parts.store,
        sessions=services.sessions,
        recorder=services.recorder,
        clock=services.clock,
        events=Events(services.gateway, services.clock, new_id),
        settings=parts.settings,
        deciding=parts.deciding,
    )
    for second in itertools.count():
        try:
            await keeping.look()
            if second % _FORGET_EVERY == 0:
                await keeping.forget()
        except Exception as error:  # noqa: BLE001 - nothing ends it but the gate's end
            fault = error.code if isinstance(error, Problem) else type(error).__name__
            log.warning("approvals_not_kept", fault=fault)
        await asyncio.sleep(_LOOK_SECONDS)
