"""Boxes as pods of a cluster, through its API server.

A pod is made with the ``LAUNCHER`` and attached to; what it is to run, and its variables, go over
that stream alone. Kubernetes gives a box no directory of this machine, no socket and no terminal:
an order with one is refused. A box ends when its pod is gone from the API, which the kubelet says
once its processes are.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from portcullis.config.cluster import Cluster
from portcullis.core.errors import Problem
from portcullis.core.sandbox import (
    Ability,
    Ended,
    Ending,
    Hold,
    Network,
    Order,
    Profile,
    Streams,
)
from portcullis.execution.sandbox import kubernetes_look as look
from portcullis.execution.sandbox import manifest, orders
from portcullis.execution.sandbox.kubernetes_api import Api, Refused
from portcullis.execution.sandbox.kubernetes_streams import Carried
from portcullis.execution.sandbox.processes import kept

_log = structlog.get_logger(__name__)
_POLL_SECONDS: Final = 0.1
_GONE_SECONDS: Final = 15.0
_LOST_SECONDS: Final = 2.0
"""How long a container whose streams broke off is given to have ended."""
_SIGNALLED: Final = 128
_KILLED: Final = _SIGNALLED + signal.SIGKILL
_HOPELESS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_FAULTS: Final = (Refused, aiohttp.ClientError, OSError, TimeoutError)


class Kubernetes:
    """A ``core.sandbox_ports.Sandbox``; needs the extra ``agent-portcullis[kubernetes]``."""

    name = "kubernetes"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._place = manifest.place(cluster)
        self._ability: Ability | None = None
        self._abandoned: set[asyncio.Future[None]] = set()
        self._pids = 0
        """How many processes the kubelet lets a pod have; 0 for any number."""

    def probe(self) -> Ability:
        """Say what the cluster enforces; the first time it makes a pod to see.

        What an earlier gate of the same owner left there is removed before.
        """
        if self._ability is None:
            with ThreadPoolExecutor(1) as thread:  # a loop of its own, whoever asks
                self._ability = thread.submit(lambda: asyncio.run(self._look())).result()
        return self._ability

    async def start(self, order: Order, streams: Streams) -> PodBox:
        """Make the pod, and give it the order's command.

        Whoever stops waiting for it gets none: it is ended when it is there.
        """
        starting = asyncio.ensure_future(self._checked(order, *kept(streams)))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            ending = asyncio.ensure_future(_abandoned(starting))
            self._abandoned.add(ending)
            ending.add_done_callback(self._abandoned.discard)
            raise

    async def _checked(self, order: Order, streams: Streams, keeping: ExitStack) -> PodBox:
        with keeping:
            ability = self._bounded(await asyncio.to_thread(self.probe), order.profile)
            orders.checked(order, ability)
            _possible(order)
            return await self._start(order, streams, ability.enforces)

    def _bounded(self, ability: Ability, profile: Profile) -> Ability:
        """The ability for a profile: that bound is the cluster's, and cannot be asked for."""
        holds = 0 < self._pids <= profile.pids
        enforces = ability.enforces | {Hold.PIDS} if holds else ability.enforces - {Hold.PIDS}
        return msgspec.structs.replace(ability, enforces=enforces)

    async def _start(self, order: Order, streams: Streams, enforced: frozenset[Hold]) -> PodBox:
        name = f"{manifest.slug(order.title)}-{secrets.token_hex(8)}"
        carried = Carried(streams)
        try:
            api = await Api.opened(self._cluster)
            box = PodBox(api, name, order, carried, enforced)
        except BaseException:
            carried.close()
            raise
        try:
            async with asyncio.timeout(self._cluster.start_seconds):
                await api.create(manifest.pod(name, order.profile, self._place))
                await box.running()
                await box.begin()
        except BaseException as error:
            await asyncio.shield(box.close())
            if isinstance(error, _FAULTS):
                raise Problem("PC5031", f"the cluster made no pod: {_said(error)}") from None
            raise
        return box

    async def _look(self) -> Ability:
        try:
            api = await Api.opened(self._cluster)
        except (Problem, *_FAULTS) as error:
            return _unable(getattr(error, "detail", None) or _said(error))
        try:
            version = await api.version()
            await api.sweep(self._place.owner)
            handler = ""
            if self._place.runtime_class is not None:
                handler = await api.handler(self._place.runtime_class)
            profile = Profile(demands=frozenset(), seconds=self._cluster.start_seconds)
            cut = look.uncut(await api.policies(), manifest.labels(profile, self._place))
            seen = await self._seen(profile, api.address)
        except (Problem, *_FAULTS) as error:
            return _unable(getattr(error, "detail", None) or _said(error))
        finally:
            await api.close()
        self._pids = look.number(seen, "pids.max")
        listed = self._place.seccomp is not None
        found, lacking = look.held(seen, profile, handler=handler, cut=cut, listed=listed)
        return Ability(adapter=self.name, version=version, enforces=found, lacking=lacking)

    async def _seen(self, profile: Profile, address: str) -> dict[str, str]:
        order = Order(
            title="look",
            argv=("/bin/sh", "-c", look.LOOK, "look", address),
            profile=profile,
            environ={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        )
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as other:
            streams = Streams(stdin=other.fileno(), stdout=said.fileno(), stderr=other.fileno())
            box = await self._start(order, streams, frozenset())
            try:
                await box.wait()
            finally:
                await box.close()
            said.seek(0)
            return look.pairs(said.read(65536).decode("utf-8", "replace"))


class PodBox:
    """A ``core.sandbox_ports.Box``: a pod, and the streams that are carried to it."""

    def __init__(
        self, api: Api, name: str, order: Order, carried: Carried, enforced: frozenset[Hold]
    ) -> None:
        self._api, self._name, self._order = api, name, order
        self._carried, self._enforced = carried, enforced
        self._socket: Any = None
        self._carrying: asyncio.Future[None] | None = None
        self._why: Ending | None = None
        self._ended: asyncio.Future[Ended] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        """No process of this machine stands for it."""
        return 0

    @property
    def enforced(self) -> frozenset[Hold]:
        """What held the pod that was made to see."""
        return self._enforced

    @property
    def scratch(self) -> None:
        """What it writes cannot be read from here."""
        return

    async def running(self) -> None:
        """Return when the container runs. Raises Refused when it never will."""
        while True:
            status = (await self._api.read(self._name) or {}).get("status", {})
            if status.get("phase") == "Running":
                return
            waiting = _state(status).get("waiting", {}).get("reason", "")
            if status.get("phase") in {"Failed", "Succeeded"} or waiting in _HOPELESS:
                raise Refused(waiting or status.get("reason") or "the pod ended at once")
            await asyncio.sleep(_POLL_SECONDS)

    async def begin(self) -> None:
        """Attach, say what is to be run, and carry from then on."""
        order = self._order
        self._socket = await self._api.attach(self._name)
        text = manifest.words(order.cwd, order.environ, order.argv)
        for start in range(0, len(text), 32768):
            await self._socket.send_bytes(b"\0" + text[start : start + 32768])
        self._carrying = asyncio.ensure_future(self._carried.carry(self._socket))
        self._ended = asyncio.ensure_future(self._run(self._carrying))
        if order.profile.seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(order.profile.seconds, self._end, Ending.DEADLINE)

    async def wait(self) -> Ended:
        """Return how it ended, to everyone who asks."""
        if self._ended is None:
            return Ended(why=Ending.KILLED, status=_KILLED)
        return await asyncio.shield(self._ended)

    async def kill(self) -> None:
        """Cut its streams at once and end it; returns when the kubelet says that it is gone."""
        self._end(Ending.KILLED)
        if self._ended is not None:
            await asyncio.shield(self._ended)

    async def close(self) -> None:
        """End it, and take the pod away."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self.kill()
        await self._remove()
        self._carried.close()
        await self._api.close()

    def _end(self, why: Ending) -> None:
        if self._ended is None or self._ended.done() or self._why is not None:
            return
        self._why = why
        if self._carrying is not None:
            self._carrying.cancel()

    async def _run(self, carrying: asyncio.Future[None]) -> Ended:
        with suppress(asyncio.CancelledError, *_FAULTS):
            await carrying
        with suppress(*_FAULTS):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._socket.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._why is None:
            ended = await self._last()
            if ended is not None:
                return ended
        await self._remove()
        return Ended(why=self._why or Ending.KILLED, status=_KILLED)

    async def _last(self) -> Ended | None:
        """How the container ended, when it did; None when only its streams have."""
        with suppress(*_FAULTS):
            async with asyncio.timeout(_GONE_SECONDS if self._carried.finished else _LOST_SECONDS):
                while (found := await self._api.read(self._name)) is not None:
                    status = found.get("status", {})
                    if done := _state(status).get("terminated"):
                        return _ended(done, status.get("reason", ""))
                    await asyncio.sleep(_POLL_SECONDS)
        return None

    async def _remove(self) -> None:
        """Delete the pod; first as the kubelet confirms it, then whatever the kubelet says."""
        for grace in (1, 0):
            with suppress(*_FAULTS):
                async with asyncio.timeout(_GONE_SECONDS):
                    await self._api.delete(self._name, grace)
                    while await self._api.read(self._name) is not None:  # noqa: ASYNC110 - a poll
                        await asyncio.sleep(_POLL_SECONDS)
                    return
        _log.error("box_not_removed", pod=self._name)


async def _abandoned(starting: asyncio.Future[PodBox]) -> None:
    """End a box that nobody waits for, when it is there."""
    with suppress(Problem):
        await (await starting).close()


def _possible(order: Order) -> None:
    """Problem PC5032 for what a pod cannot have."""
    if order.mounts:
        raise Problem("PC5032", "a box in a cluster has no directory of this machine")
    if order.terminal:
        raise Problem("PC5032", "a box in a cluster has no terminal of this machine")
    if order.profile.network is not Network.NONE:
        raise Problem("PC5032", "a box in a cluster has no socket of the gate's")
    if "=" in order.argv[0]:
        raise Problem("PC5032", "a command in a cluster has no = in its name")


def _state(status: dict[str, Any]) -> dict[str, Any]:
    every: Sequence[dict[str, Any]] = status.get("containerStatuses") or ({},)
    found: dict[str, Any] = every[0].get("state") or {}
    return found


def _ended(done: dict[str, Any], reason: str) -> Ended:
    status = int(done.get("exitCode", 0))
    if reason == "DeadlineExceeded":
        return Ended(why=Ending.DEADLINE, status=status)
    if done.get("reason") == "OOMKilled":
        return Ended(why=Ending.MEMORY, status=status)
    return Ended(why=Ending.SIGNALLED if status > _SIGNALLED else Ending.EXITED, status=status)


def _unable(why: str) -> Ability:
    lacking = dict.fromkeys(Hold, why)
    return Ability(adapter="kubernetes", version="", enforces=frozenset(), lacking=lacking)


def _said(error: BaseException) -> str:
    if isinstance(error, Refused):
        return error.reason
    if isinstance(error, TimeoutError):
        return "it took too long"
    return getattr(error, "strerror", None) or type(error).__name__
