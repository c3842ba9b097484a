"""Logs and figures of gateways that are on other hosts, brought into the control plane's folder.

A gateway ships its log to the store that ``audit.replicate`` names; from there it is mirrored, as
``portcullis audit mirror`` does it: verified with the key that the gateway announced first, held
against what was there before, and only then stored. From then on it is a log like the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Gauge

from portcullis.audit.files import replace
from portcullis.audit.note import Verifier
from portcullis.audit.replica.mirror import Mirror
from portcullis.bootstrap.background import background
from portcullis.bootstrap.hosts_pruned import PrunedHosts, pruning_hosts
from portcullis.bootstrap.hosts_retired import keep, retired_of
from portcullis.bootstrap.records import records
from portcullis.bootstrap.replicas import settings_of
from portcullis.bootstrap.secret_sources import used_by
from portcullis.bootstrap.witness import opened_witness
from portcullis.config import Config
from portcullis.config.common import NAME
from portcullis.config.places import VKEY, Role, audit_directory, gateway_figures, gateway_name
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.hosts import FRESH_SECONDS, Presence, Presences, Retired
from portcullis.core.ports import Clock, SecretSource
from portcullis.gateway.records import changed
from portcullis.identity.private import exclusive, write_private
from portcullis.store.hosts import SqlPresences
from portcullis.store.objects import StoreSettings, open_objects

MIRRORS: Final = "mirrors"
"""Below the control plane's state directory: what it saw last of each of these logs."""
_LOOK_SECONDS: Final = 2.0
_NAME: Final = re.compile(NAME.strip("^$") + r"(\.[0-9-]+)?")
"""A gateway's log, also one from after its folder was restored."""
_NOTHING: Final = frozenset({"PC7005"})
"""What is there before a gateway has shipped anything."""

log = structlog.get_logger(__name__)


class Brought:
    """Brings logs and figures here.

    ``source`` is where the log of a name is shipped to, None where nothing is shipped. ``told`` is
    told of a log, and which Problem it has now, None for no more. The log of a gateway that is
    retired is brought until nothing has come for a while since it was seen running; from then on
    it is ``closed``. ``step`` is for one thread.
    """

    def __init__(
        self,
        config: Config,
        presences: Presences,
        source: Callable[[str], StoreSettings] | None,
        told: Callable[[str, Problem | None], None],
        clock: Clock,
        closed: Callable[[Retired], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._presences = presences
        self._source = source
        self._told = told
        self._clock = clock
        self._closed = closed
        self._rests: dict[str, float] = {}
        self._mirrors: dict[str, Mirror] = {}
        self._stack = contextlib.ExitStack()
        self._logs: dict[str, str] = {}  # by the gateways' names
        self._at: dict[str, float] = {}
        self._show: Callable[[str, float], None] | None = None
        self._forget: Callable[[str], None] = lambda _: None

    def show(
        self, age: Callable[[str, float], None], forget: Callable[[str], None] = lambda _: None
    ) -> None:
        """Have ``age`` told, each round, how old what is here of a log is, in seconds.

        ``forget`` is told of a log that is closed: it has no age.
        """
        self._show = age
        self._forget = forget

    def step(self) -> None:
        """One round over all gateways that are elsewhere. Blocks; Problem PC9002.

        How old a log is, is told when nothing can be read, too, and when nobody announces it.
        """
        try:
            running = {one.name for one in self._presences.running()}
            retired = retired_of(self._config.state)
            closed = {one.name for one in retired.values() if one.closed}
            apart = [one for one in self._presences.all() if one.apart and one.name not in closed]
            for one in apart:
                runs = one.name in running
                size = self._bring(one, runs=runs)
                if one.name in retired and size is not None:
                    self._close(retired[one.name], size, runs=runs)
            for name in self._logs.keys() - closed - {one.name for one in apart}:
                self._told(self._logs[name], Problem("PC6009", "no gateway announces it any more"))
        finally:
            self.tell()

    def tell(self) -> None:
        """Tell how old each log is, also from another thread, while a step takes long."""
        now = self._clock.monotonic()
        for name, at in dict(self._at).items():
            if self._show is not None:
                self._show(name, now - at)

    def close(self) -> None:
        """Let go of what it saw."""
        self._stack.close()

    def _close(self, one: Retired, size: int, *, runs: bool) -> None:
        """Bring no more of it when it has had time to ship its last entries."""
        now = self._clock.monotonic()
        if runs:
            self._rests.pop(one.name, None)
        elif now - self._rests.setdefault(one.name, now) >= FRESH_SECONDS:
            done = msgspec.structs.replace(one, closed=True, entries=size)
            keep(self._config.state, done)
            self._at.pop(self._logs.pop(one.name, one.log), None)
            self._forget(one.log)
            self._closed(done)

    def _bring(self, one: Presence, *, runs: bool) -> int | None:
        """How many entries are here; None when it could not be brought."""
        now = self._clock.monotonic()
        before = self._logs.get(one.name, one.log)
        if before != one.log:  # its folder was restored: the old log is nobody's
            self._at.pop(before, None)
        self._logs[one.name] = one.log
        self._at.setdefault(one.log, now)
        try:
            self._figures(one, runs=runs)
            here = self._log(one)
        except Problem as problem:
            self._told(one.log, problem)
            return None
        self._told(one.log, None)
        if here is not None:
            self._at[one.log] = now
        return here or 0

    def _figures(self, one: Presence, *, runs: bool) -> None:
        """Those of one that broke off stay, and grow old; none are left where it was to end."""
        place = gateway_figures(self._config, gateway_name(one.name))
        figures = self._presences.figures(one.name) if runs else b""
        if figures:
            with exclusive(place.parent):
                write_private(place, figures)
        elif one.ended or one.name in retired_of(self._config.state):
            place.unlink(missing_ok=True)

    def _log(self, said: Presence) -> int | None:
        """Bring it; how many entries it has, None while nothing was ever shipped of it."""
        if Role.of(said.log) is not Role.GATEWAY or not _NAME.fullmatch(said.log):
            raise Problem("PC6009", "the name is none of a gateway's log")
        directory = audit_directory(self._config, said.log)
        if (directory / VKEY).exists():
            known = (directory / VKEY).read_text(encoding="utf-8").strip()
            if known != said.vkey:
                raise Problem("PC6009", "the log that is here has another key")
        if said.log not in self._mirrors:
            self._mirrors[said.log] = self._mirror(said)
        try:
            size = self._mirrors[said.log].step().size
        except Problem as problem:
            if problem.code not in _NOTHING:
                raise
            if (directory / VKEY).exists():  # it was there
                raise Problem("PC6009", problem.detail) from None
            return None
        if not (directory / VKEY).exists():
            replace(directory / VKEY, f"{said.vkey}\n".encode())
        return size

    def _mirror(self, said: Presence) -> Mirror:
        if self._source is None:
            raise Problem("PC6009", "audit.replicate names no store")
        verifier = Verifier.parse(said.vkey)
        if verifier.name != f"{self._config.trust_domain}/{said.log}":
            raise Problem("PC6009", "the key that was announced is another log's")
        directory = audit_directory(self._config, said.log)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = opened_witness(
            self._config.state / MIRRORS / said.log,
            f"{self._config.trust_domain}/mirror-{said.log}",
            [verifier],
            clock=self._clock,
        )
        witness = self._stack.enter_context(opened)
        store = open_objects(StoreSettings(url=directory.resolve().as_uri()))
        fetch = open_objects(self._source(said.log)).get
        return Mirror(fetch, store, witness, verifier, clock=self._clock)


@contextlib.asynccontextmanager
async def bringing_logs(
    config: Config, services: Services, secrets: SecretSource, registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Bring them beside the block, where hosts have a record store in common."""
    if config.store.url is None:
        yield
        return
    said: dict[str, str] = {}

    def told(name: str, problem: Problem | None) -> None:
        """On record when it begins, and when it is over."""
        code = "" if problem is None else problem.code
        if code == said.get(name, ""):
            return
        said[name] = code
        state = "raised" if code else "cleared"
        log.log(logging.ERROR if code else logging.INFO, "hosts.log", log=name, code=code)
        about = {"log": name, "state": state}
        event = changed(services.gateway, services.clock, "hosts.log", about)
        if code:
            event = msgspec.structs.replace(event, verdict="error", code=code)
        services.recorder.enqueue(event)

    def closed(one: Retired) -> None:
        about = {"gateway": one.name, "log": one.log, "entries": one.entries}
        services.recorder.enqueue(changed(services.gateway, services.clock, "hosts.closed", about))

    engine = await asyncio.to_thread(records, config)
    presences = SqlPresences(engine, services.sealer)
    source = _source(config, secrets)
    brought = Brought(config, presences, source, told, services.clock, closed)
    ages = age_gauge(registry)
    brought.show(lambda name, age: ages.labels(name).set(age), ages.remove)
    try:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(background(_keep_up(brought)))
            if (privacy := services.privacy_parts) is not None:
                pruned = PrunedHosts(config, presences, engine, privacy, services.clock)
                await stack.enter_async_context(background(pruning_hosts(pruned, privacy)))
            yield
    finally:
        await asyncio.to_thread(brought.close)
        engine.dispose()


async def _keep_up(brought: Brought) -> None:
    """For ever."""
    stepping: asyncio.Future[None] | None = None
    try:
        while True:
            stepping = asyncio.ensure_future(asyncio.to_thread(brought.step))
            while not (await asyncio.wait([stepping], timeout=_LOOK_SECONDS))[0]:
                brought.tell()
            try:
                stepping.result()
            except Exception as error:  # noqa: BLE001 - it is tried again
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                log.warning("logs_not_brought", fault=fault)
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        if stepping is not None:
            await asyncio.wait([stepping])  # its thread still uses what is closed next


def _source(config: Config, secrets: SecretSource) -> Callable[[str], StoreSettings] | None:
    """The first store that logs are shipped to."""
    if not config.audit.replicate:
        return None
    replica = config.audit.replicate[0]
    return lambda name: settings_of(replica, used_by(secrets, f"replicate.{replica.name}"), name)


def age_gauge(registry: CollectorRegistry) -> Gauge:
    """The figure of how old the logs of other hosts are, by log."""
    return Gauge(
        "portcullis_hosts_log_age_seconds",
        "Since a log of another host was brought here as far as it was shipped.",
        ["log"],
        registry=registry,
    )
