"""Gateways of other hosts that are never to serve again: a file of the control plane's folder.

It goes to every host as the control plane's other files do (``hosts_published``), and everybody
reads it where it then lies. A gateway that finds itself there refuses everything at once, ends, and
leaves nothing of the control plane's in its folder.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog
from sqlalchemy import Engine

from portcullis.config import Config
from portcullis.control.containment import Containment
from portcullis.core.errors import Problem
from portcullis.core.hosts import Presence, Presences, Retired
from portcullis.core.ports import Sealer
from portcullis.identity.private import exclusive, read_private, write_private
from portcullis.store.hosts import SqlPresences

RETIRED: Final = "retired.json"
"""Below the state directory, here and on every host."""
_LOOK_SECONDS: Final = 0.25

log = structlog.get_logger(__name__)


def retired_of(state: Path) -> dict[str, Retired]:
    """All that are retired, by name. Raises Problem PC7001 for a file that is not what we write."""
    raw = read_private(state / RETIRED)
    try:
        found = () if raw is None else msgspec.json.decode(raw, type=tuple[Retired, ...])
    except msgspec.MsgspecError:
        raise Problem("PC7001", f"{state / RETIRED} is not what we write") from None
    return {one.name: one for one in found}


def keep(state: Path, one: Retired) -> None:
    """Have it stand there, in place of what stood there of the same gateway."""
    with exclusive(state):
        found = {**retired_of(state), one.name: one}
        write_private(state / RETIRED, msgspec.json.encode(list(found.values())))


def expect_serving(state: Path, name: str) -> None:
    """Raise Problem PC7098 for a gateway that is retired."""
    if name in retired_of(state):
        raise Problem("PC7098", f"the gateway {name} is retired")


class RetiringHosts:
    """Implements ``control.retiring.Hosts``, in the control plane's folder."""

    def __init__(self, state: Path, presences: Presences) -> None:
        self._state = state
        self._presences = presences

    def find(self, name: str) -> Presence:
        """See Hosts."""
        expect_serving(self._state, name)
        for one in self._presences.all():
            if one.apart and one.name == name:
                return one
        raise Problem("PC7097", f"no other host has a gateway called {name}")

    def retire(self, found: Presence) -> None:
        """See Hosts."""
        keep(self._state, Retired(name=found.name, log=found.log, at=time.time()))


def retiring_hosts(config: Config, engine: Engine, sealer: Sealer) -> RetiringHosts | None:
    """Who retires gateways of other hosts; None where records are in a file of this one."""
    if config.store.url is None:
        return None
    return RetiringHosts(config.state, SqlPresences(engine, sealer))


async def ending_retired(
    config: Config, name: str, feed: Containment, end: Callable[[], None]
) -> None:
    """Wait until the gateway ``name`` is retired; have it refuse everything then, and end."""
    while name not in await asyncio.to_thread(retired_of, config.state):  # noqa: ASYNC110 - a file
        await asyncio.sleep(_LOOK_SECONDS)
    log.critical("gateway_retired", gateway=name, code="PC7098")
    feed.lease(lambda: False)
    end()
