"""The sandbox of a configuration, and every box it makes on record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from portcullis.config import Config
from portcullis.config.boxed import Kept, mount
from portcullis.config.cluster import Cluster
from portcullis.config.guarded import rule_places, secret_places
from portcullis.config.tools import held
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.core.sandbox import Ability, Ended, Hold, Order, Profile, Streams
from portcullis.core.sandbox_ports import Box, Sandbox
from portcullis.execution.sandbox.bubblewrap import Bubblewrap
from portcullis.execution.sandbox.kubernetes import Kubernetes
from portcullis.execution.sandbox.oci import Oci
from portcullis.execution.sandbox.runsc import Runsc
from portcullis.execution.sandbox.wasm import Wasmtime
from portcullis.gateway.records import changed

_NOTHING: Final = Kept()
STARTED: Final = "sandbox.start"
CLAIMED: Final = "sandbox.claim"

_ADAPTERS: Final[Mapping[str, Callable[[], Sandbox]]] = {
    "bubblewrap": Bubblewrap,
    "runc": lambda: Oci("runc"),
    "crun": lambda: Oci("crun", groups=False),
    "runsc": Runsc,
    "wasmtime": Wasmtime,
}


def adapters() -> tuple[str, ...]:
    """The names of all there are, installed or not."""
    return tuple(_ADAPTERS)


def adapter(name: str, cluster: Cluster | None = None) -> Sandbox:
    """The adapter of this name; Problem PC7004 where there is none."""
    if name == "kubernetes":
        if cluster is None:
            raise Problem("PC7004", "the configuration has no sandbox.kubernetes")
        return Kubernetes(cluster)
    if name not in _ADAPTERS:
        raise Problem("PC7004", f"there is no sandbox {name}: {', '.join(_ADAPTERS)}")
    return _ADAPTERS[name]()


class Figures:
    """How many boxes were made and refused, why they ended, and how many there are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter(
            "portcullis_boxes_started", "Boxes that were made.", ["profile"], registry=registry
        )
        self.refused = Counter(
            "portcullis_boxes_refused", "Boxes that were not made.", ["code"], registry=registry
        )
        self.ended = Counter(
            "portcullis_boxes_ended", "Boxes that are no more.", ["why"], registry=registry
        )
        self.open = Gauge("portcullis_boxes", "Boxes that there are now.", registry=registry)


class RecordedSandbox:
    """A ``core.sandbox_ports.Sandbox`` that puts every box on record before it is handed over.

    A box that cannot be recorded is ended, and ``start`` raises Problem PC6001. One that would be
    given what is ``kept`` is not made (PC5032).
    """

    def __init__(
        self, inner: Sandbox, services: Services, figures: Figures, kept: Kept = _NOTHING
    ) -> None:
        self._inner, self._services, self._figures = inner, services, figures
        self._kept = kept
        self._watching: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The adapter's."""
        return self._inner.name

    def probe(self) -> Ability:
        """The adapter's."""
        return self._inner.probe()

    async def start(self, order: Order, streams: Streams) -> Box:
        """Make a box, and write down what holds it; not to be left half-way by whoever cancels."""
        starting = asyncio.ensure_future(self._start(order, streams))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._later(_unwanted(starting))
            raise

    def claimed(self, title: str, box: Box) -> None:
        """Write down what a box that waited is used for; Problem PC6001 when that cannot be."""
        said = {"title": title, "pid": box.pid, "adapter": self.name}
        services = self._services
        services.recorder.enqueue(changed(services.gateway, services.clock, CLAIMED, said))

    async def _start(self, order: Order, streams: Streams) -> Box:
        try:
            self._kept.check(order.mounts)
            box = await self._inner.start(order, streams)
        except Problem as problem:
            self._figures.refused.labels(problem.code).inc()
            raise
        try:
            await self._services.recorder.durable(self._event(order, box))
        except BaseException:
            await box.close()
            raise
        self._figures.started.labels(order.profile.name).inc()
        self._figures.open.inc()
        self._later(self._watch(box))
        return box

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _watch(self, box: Box) -> None:
        try:
            ended: Ended = await box.wait()
            self._figures.ended.labels(ended.why.value).inc()
        finally:
            self._figures.open.dec()

    def _event(self, order: Order, box: Box) -> Event:
        said = {
            "title": order.title,
            "pid": box.pid,
            "profile": order.profile.name,
            "adapter": self.name,
            "network": order.profile.network.value,
        }
        lacking = sorted(set(Hold) - box.enforced)
        return changed(
            self._services.gateway,
            self._services.clock,
            STARTED,
            {**said, "enforced": sorted(box.enforced), "lacking": lacking} | bounds(order.profile),
        )


async def _unwanted(starting: asyncio.Future[Box]) -> None:
    with suppress(Problem):
        await (await starting).close()


def bounds(profile: Profile) -> dict[str, Any]:
    """The limits of a profile, for the record; bytes, processors, seconds."""
    names = ("memory", "cpu", "pids", "tmp", "scratch", "files", "seconds")
    return {name: getattr(profile, name) for name in names}


def recorded(config: Config, services: Services, registry: CollectorRegistry) -> RecordedSandbox:
    """The sandbox of the configuration, with its log and its figures."""
    mounts = (mount(text) for one in held(config.mcp, config.tools) for text in one.mounts)
    kept = Kept(
        secret=secret_places(config),
        rules=rule_places(config),
        shared=tuple(one.source for one in mounts if one.writable),
    )
    made = adapter(config.sandbox.adapter, config.sandbox.kubernetes)
    return RecordedSandbox(made, services, Figures(registry), kept)
