"""A fan-out over Valkey or Redis: pub/sub channels, and nothing that is kept there.

``PREFIX:down`` is for all followers, ``PREFIX:down:NAME`` for one, ``PREFIX:up`` for the publisher.
No snapshot lies in a key: what is kept can be shown again later, and a follower could not tell. It
asks the publisher, who answers that follower alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from portcullis.core.fanout import FIRST_PAUSE, LONGEST_PAUSE, MAX_FRAME, MAX_WAITING, Heard
from portcullis.store.redis_address import one_node, parsed

log = structlog.get_logger(__name__)

_FAULTS: Final = (RedisError, OSError, TimeoutError)


class _Channel:
    """Publishes and hears, and joins again whenever it was lost.

    ``silence`` are the seconds without a message after which the connection counts as lost.
    """

    def __init__(self, url: str, hears: tuple[str, ...], silence: float) -> None:
        self._address = parsed(url)
        self._turn = -1
        self._hears = hears
        self._silence = silence
        self._queue: deque[tuple[str, bytes]] = deque()
        self._waiting = 0
        self._some = asyncio.Event()
        self._up = False

    def send(self, channel: str, frame: bytes) -> None:
        """Publish it soon, in order; while there is no connection it is lost."""
        if not self._up:
            return
        if self._waiting > MAX_WAITING:
            log.warning("feed_queue_full")
            return
        self._queue.append((channel, frame))
        self._waiting += len(frame)
        self._some.set()

    async def run(self, heard: Heard, joined: Callable[[], None]) -> None:
        """Be there until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._connected() as (client, pubsub):
                    self._up, pause = True, FIRST_PAUSE
                    joined()
                    await self._both(client, pubsub, heard)
            except _FAULTS as error:
                log.warning("feed_away", fault=type(error).__name__)
            finally:
                self._up = False
                self._queue.clear()
                self._waiting = 0
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Redis, PubSub]]:
        self._turn += 1  # of a cluster, another node
        client = one_node(self._address, self._turn, seconds=self._silence)
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(*self._hears)
            yield client, pubsub
        finally:
            with contextlib.suppress(*_FAULTS):
                await pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py says nothing
            with contextlib.suppress(*_FAULTS):
                await client.aclose()

    async def _both(self, client: Redis, pubsub: PubSub, heard: Heard) -> None:
        """Write and read until either fails."""
        tasks = {
            asyncio.ensure_future(self._write(client)),
            asyncio.ensure_future(self._read(pubsub, heard)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._up = False  # a cancellation may be lost within redis-py
            self._some.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, client: Redis) -> None:
        while self._up:
            while self._queue:
                channel, frame = self._queue.popleft()
                self._waiting -= len(frame)
                await client.publish(channel, frame)
            self._some.clear()
            if self._up:
                await self._some.wait()

    async def _read(self, pubsub: PubSub, heard: Heard) -> None:
        asked = False
        while self._up:
            message = await pubsub.get_message(timeout=self._silence)
            if message is None:
                if asked:
                    raise TimeoutError
                await pubsub.ping()
                asked = True
                continue
            asked = False
            data = message.get("data")
            if message["type"] == "message" and isinstance(data, bytes) and len(data) <= MAX_FRAME:
                heard(data)


class RedisHub:
    """Implements ``core.fanout.Hub``. ``url`` holds what is needed to get in."""

    def __init__(self, url: str, prefix: str, *, silence: float) -> None:
        self._prefix = prefix
        self._channel = _Channel(url, (f"{prefix}:up",), silence)

    async def open(self) -> None:
        """Nothing: a server that is away comes back."""

    async def run(self, heard: Heard) -> None:
        """Serve until cancelled."""
        await self._channel.run(heard, lambda: None)

    def send(self, frame: bytes, to: str = "") -> None:
        """Send to all, or to one."""
        self._channel.send(f"{self._prefix}:down" + (f":{to}" if to else ""), frame)


class RedisLine:
    """Implements ``core.fanout.Line``."""

    def __init__(self, url: str, prefix: str, name: str, *, silence: float) -> None:
        self._up = f"{prefix}:up"
        self._channel = _Channel(url, (f"{prefix}:down", f"{prefix}:down:{name}"), silence)

    async def run(self, heard: Heard, joined: Callable[[], None]) -> None:
        """Follow until cancelled."""
        await self._channel.run(heard, joined)

    def send(self, frame: bytes) -> None:
        """Say something to the publisher."""
        self._channel.send(self._up, frame)
