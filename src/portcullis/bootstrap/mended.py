"""A log that takes no record any more is begun anew, once it could be written: its process ends.

What a failed write left is found out in the way of every start: the journal is proven against what
was signed, and an unfinished last frame is cut. Until then the process stays, refuses, and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from portcullis.audit.files import write_new
from portcullis.core.ports import Recorder

_LOOK_SECONDS: Final = 2.0
_ROOM: Final = 2**20
_PROBE: Final = "room.new"

log = structlog.get_logger(__name__)


async def mended(
    recorder: Recorder, directory: Path, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Return once the log in ``directory`` has failed, and a file could be written there since."""
    while not recorder.failure:
        await sleep(_LOOK_SECONDS)
    log.critical("log_failed", code="PC6001", reason=recorder.failure)
    while not await asyncio.to_thread(_room, directory):
        await sleep(_LOOK_SECONDS)
    log.critical("log_can_be_written", do="this process ends, and has to be started again")


def _room(directory: Path) -> bool:
    place = directory / _PROBE
    try:
        place.unlink(missing_ok=True)
        try:
            write_new(place, bytes(_ROOM), mode=0o600)
        finally:
            place.unlink(missing_ok=True)
    except OSError:
        return False
    return True
