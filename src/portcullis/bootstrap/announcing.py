"""A gateway says that it is there, and hears who else is, where hosts have one record store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import partial
from typing import Final

import msgspec
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.background import background
from portcullis.bootstrap.hosts_retired import retired_of
from portcullis.bootstrap.records import records
from portcullis.config import Config
from portcullis.config.places import audit_directory
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.formats import FORMAT
from portcullis.core.hosts import SAY_SECONDS, Presence, Presences
from portcullis.core.ports import Clock
from portcullis.store.hosts import SqlPresences

_HOST: Final = 253
"""The most characters of a host's name."""

_LOOK_SECONDS: Final = 0.2
"""The least time between two looks for somebody who is not known."""

log = structlog.get_logger(__name__)


class Announced:
    """A gateway that holds its name, and what it knows of the others.

    ``lost`` is called when another process has taken the name: whoever is called so from then on
    is not this one. ``retired`` are gateways that count as ones that do not run.
    """

    def __init__(
        self,
        presences: Presences,
        said: Presence,
        clock: Clock,
        lost: Callable[[], None],
        retired: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._presences = presences
        self._said = said
        self._clock = clock
        self._lost = lost
        self._retired = retired
        self._process = secrets.token_hex(16)
        self._others: dict[str, Presence] = {}
        self._again = 0.0
        self._news = asyncio.Event()

    async def claim(self) -> None:
        """Begin to be the gateway of this name. Raises Problem as ``Presences.claim`` does."""
        await asyncio.to_thread(self._presences.claim, self._said, self._process)

    def say(self, urls: Mapping[str, str]) -> None:
        """Say at once, and from now on, where it listens, by the names of the listeners."""
        self._said = msgspec.structs.replace(self._said, urls=dict(urls))
        self._news.set()

    def erased(self, number: int) -> None:
        """Say from now on that it has made all erasures up to this one."""
        self._said = msgspec.structs.replace(self._said, erased=number)

    def address(self, name: str) -> str | None:
        """Where a gateway takes what others pass on; empty where it takes nothing.

        None when it does not run, as far as is known here.
        """
        found = self._others.get(name)
        return None if found is None else found.urls.get("relay", "")

    async def look(self) -> None:
        """Read anew who is there, at most once in a while, however often it is asked for."""
        now = self._clock.monotonic()
        if now < self._again:
            return
        self._again = now + _LOOK_SECONDS
        try:
            self._others = await asyncio.to_thread(self._running)
        except Problem as problem:
            log.warning("gateways_not_known", code=problem.code)

    async def run(self, figures: Callable[[], bytes], policy: Callable[[], str]) -> None:
        """Say it every few seconds, for ever, until the name is another's."""
        while True:
            try:
                if not await asyncio.to_thread(self._once, figures, policy):
                    do = "see who has it; or was the database put back (docs/backup.md)?"
                    log.critical("gateway_name_lost", gateway=self._said.name, code="PC6003", do=do)
                    self._lost()
                    return
            except Problem as problem:
                log.warning("gateway_not_announced", code=problem.code)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), SAY_SECONDS)
            self._news.clear()

    def leave(self) -> None:
        """Say that it runs no more. Blocks."""
        with contextlib.suppress(Problem):  # then it is known in half a minute
            said = msgspec.structs.replace(self._said, at=self._clock.now())
            self._presences.leave(said, self._process)

    def _once(self, figures: Callable[[], bytes], policy: Callable[[], str]) -> bool:
        said = msgspec.structs.replace(self._said, at=self._clock.now(), policy=policy())
        holds = self._presences.say(said, self._process, figures())
        self._others = self._running()
        return holds

    def _running(self) -> dict[str, Presence]:
        gone = self._retired()
        return {one.name: one for one in self._presences.running() if one.name not in gone}


@contextlib.asynccontextmanager
async def announced(
    config: Config, services: Services, name: str, own: str
) -> AsyncIterator[Announced | None]:
    """Hold the name ``name`` until the block ends, as the writer of the log called ``own``.

    None where records are in a file, which is of one host. Raises Problem PC6003 while another
    process has the name, and PC7083 where the name is that of another log.
    """
    if config.store.url is None:
        yield None
        return
    said = Presence(
        name=name,
        log=own,
        host=socket.gethostname()[:_HOST],
        at=services.clock.now(),
        apart=config.apart,
        vkey=str(own_verifier(audit_directory(config, own))),
        version=services.version,
        format=FORMAT,
    )
    engine = await asyncio.to_thread(records, config)
    try:
        presences = SqlPresences(engine, services.sealer)
        gone = partial(retired_of, config.state)
        found = Announced(presences, said, services.clock, ended, gone)
        await found.claim()
        try:
            yield found
        finally:
            await asyncio.to_thread(found.leave)
    finally:
        engine.dispose()


@contextlib.asynccontextmanager
async def announcing(
    found: Announced | None, registry: CollectorRegistry, policy: Callable[[], str]
) -> AsyncIterator[None]:
    """Go on saying it beside the block, with these figures and this policy's digest."""
    if found is None:
        yield
        return
    async with background(found.run(lambda: generate_latest(registry), policy)):
        yield


def ended() -> None:
    """Have this process drain and end."""
    os.kill(os.getpid(), signal.SIGTERM)
