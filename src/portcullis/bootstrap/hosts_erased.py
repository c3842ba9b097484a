"""Erasures on a host that keeps keys of its own: made here, asked for at the control plane."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import structlog

from portcullis.audit.retention_holds import ERASE, ERASED, Hold
from portcullis.bootstrap.announcing import Announced
from portcullis.bootstrap.elsewhere import Erasure, asked_for
from portcullis.bootstrap.records import records
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.gateway.records import changed
from portcullis.identity.private import read_private, write_private
from portcullis.store.hosts import SqlShelf

DONE: Final = "erased.json"
"""Below the state directory of a host: the last erasure that it made."""
_LOOK_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


async def erasing(config: Config, services: Services, announced: Announced | None) -> None:
    """Make what is asked for, for ever: a gateway's whose control plane is elsewhere."""
    if not config.apart or announced is None:
        return
    engine = await asyncio.to_thread(records, config)
    shelf, place, said = SqlShelf(engine, services.sealer), config.state / DONE, ""
    try:
        done = await asyncio.to_thread(_done, place)
        while True:
            announced.erased(done)
            try:
                for one in await asyncio.to_thread(asked_for, shelf):
                    if one.number > done:
                        await _erase(services, one)
                        await asyncio.to_thread(_write, place, one.number)
                        done = one.number
                said = ""
            except Problem as problem:
                if problem.code != said:
                    said = problem.code
                    log.warning("not_erased", code=problem.code)
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        engine.dispose()


async def _erase(services: Services, asked: Erasure) -> None:
    """As ``control.privacy.Privacy.erase`` does, on record in the own log."""
    parts, own = services.privacy_parts, services.gateway.rpartition("/")[2]
    if parts is None:
        raise Problem("PC7005", "there are no subjects' keys here")

    async def record(method: str, said: dict[str, object]) -> None:
        event = changed(services.gateway, services.clock, method, {"asked": asked.number, **said})
        await services.recorder.durable(event)

    async with parts.acting:
        plan = await asyncio.to_thread(parts.stores.plan, asked.name, parts.book)
        if isinstance(plan, Hold):
            raise Problem("PC6040", f"the hold {plan.id} is in force")
        tag = plan.tags[own].hex()
        await record(ERASE, {"subject": tag, "keys": plan.keys})
        keys, fields = await asyncio.to_thread(parts.stores.erase, plan)
        await record(ERASED, {"subject": tag, "keys": keys, "fields": fields})


def _done(place: Path) -> int:
    raw = read_private(place)
    return 0 if raw is None else msgspec.json.decode(raw, type=int)


def _write(place: Path, number: int) -> None:
    write_private(place, msgspec.json.encode(number))
