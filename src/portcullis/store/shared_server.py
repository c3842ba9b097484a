"""What gateways of several hosts share in Valkey or Redis: one connection, spoken to by any thread.

Everything lies below ``portcullis:{NAME/PART}:``: a deployment's name, and one of a few parts, each
in one slot of a cluster. A part has an *epoch*: it begins when the server has nothing of the part,
or is another process than the one that it began with, since then what was written last may be lost.
Who shares something asks, in the same atomic step, whether it is of this epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from threading import Event, Thread
from typing import Any, Final, TypeVar

import structlog

from portcullis.core.errors import Problem
from portcullis.core.formats import FORMAT, read, readable
from portcullis.core.ports import Clock
from portcullis.store.redis_address import FAULTS, connected, parsed
from portcullis.store.redis_health import unfit
from portcullis.store.redis_script import ANY_SKEW, REFUSE, SKEW, Script, Timed, ahead

log = structlog.get_logger(__name__)

SECONDS: Final = 0.2
"""How long anything waits for the server; on a network of one's own it takes a hundredth."""
PARTS: Final = 16
"""Into how many parts what is of sessions is divided."""
KEPT: Final = 86_400
"""Seconds after which whatever nobody wrote to is gone: no session lasts so long."""
LOOK_SECONDS: Final = 15.0
"""How often a server that answers is looked at anew, whether it is still fit."""
_PAUSE: Final = 0.25
_STARTS: Final = 2.0
_AT_ONCE: Final = 64
"""Questions to the server; others wait for their turn."""
EPOCH: Final = (
    REFUSE
    + """
local run = string.match(told, 'run_id:(%x+)')
local epoch = redis.call('HMGET', KEYS[1], 'run', 'since')
if epoch[1] ~= run then
  redis.call('HSET', KEYS[1], 'run', run, 'since', ARGV[1])
  epoch[2] = ARGV[1]
end
redis.call('EXPIRE', KEYS[1], 604800)
local since = epoch[2]
"""
)
"""The beginning of a timed script: KEYS[1] is the part's epoch, which ``since`` names."""

_T = TypeVar("_T")


class Away(Exception):  # noqa: N818 - it says what the server is
    """The server cannot be reached, does not answer in time, or refuses."""


class Server:
    """One server for a deployment called ``name``, through a thread with an event loop of its own.

    So whoever waits for it waits for ``seconds`` at most, whatever connecting takes, and an event
    loop that asks (``ask``) goes on meanwhile. After a fault nobody waits: each is refused at once
    until the server answers again, which the thread asks it four times a second. Both raise
    ``Away``. A process whose ``clock`` is not the server's, by more than ``SKEW`` seconds, has none
    for as long: it would end what others need. Without one, none is held to the server's.
    Raises Problem PC7085 for an address that is not good, PC7086 for a server that drops
    what it has for want of memory, and PC7087 where programs share something that are too far from
    this one; a server that is away is waited for. One that begins to drop is used no more until
    it is put right.
    """

    def __init__(
        self, url: str, name: str, *, clock: Clock | None = None, seconds: float = SECONDS
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._clock = clock
        self._address = parsed(url)
        self._up = Event()
        self._failed: asyncio.Event | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._serve, name="shared-server", daemon=True)
        self._thread.start()
        self._begun: list[tuple[tuple[str, ...], Clock]] = []
        self._format = FORMAT
        self._unfit = ""
        self._told = Event()
        self._keeping = self._start(self._keep())
        self._told.wait(_STARTS)
        try:
            read(self._format, "what the gateways share")
            if self._unfit:
                raise Problem("PC7086", f"what gateways share cannot lie there: {self._unfit}")
        except Problem:
            self.close()
            raise

    @property
    def up(self) -> bool:
        """Whether it answered when it was last asked."""
        return self._up.is_set()

    def part(self, what: str) -> str:
        """What the keys of a part begin with; it has a slot of a cluster."""
        return f"portcullis:{{{self._name}/{what}}}:"

    def of(self, what: str, key: str) -> str:
        """The same of what is divided by keys, such as sessions' ids."""
        number = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[0] % PARTS
        return self.part(f"{what}-{number:x}")

    def all(self, what: str) -> tuple[str, ...]:
        """All that ``of`` returns."""
        return tuple(self.part(f"{what}-{number:x}") for number in range(PARTS))

    async def ask(self, script: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """What a script returns, as bytes and integers. Raises Away."""
        self._expect()
        try:
            return await asyncio.wrap_future(self._start(self._turn(script, keys, arguments)))
        except FAULTS as fault:
            raise self._away(fault) from None

    def wait(self, script: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """The same, for who cannot await: it blocks for one answer of the server. Raises Away."""
        self._expect()
        asked = self._start(self._run(script, keys, arguments))
        try:
            return asked.result(self._seconds)
        except FAULTS as fault:
            asked.cancel()
            raise self._away(fault) from None

    def later(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        """Have something done by the thread; it raises nothing."""
        return self._start(work)

    def begin(self, what: str, clock: Clock) -> None:
        """Have the epochs of these parts begin with the process, and again when the server is back.

        Who waited for the first use would take sessions that began before it for older than it is.
        """
        self._begun.append((self.all(what), clock))
        if self.up:
            with contextlib.suppress(*FAULTS, Away):
                self._start(self._begin(*self._begun[-1])).result(_STARTS)

    async def run(self, script: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """What a script returns, for ``later``'s work alone. Raises Away."""
        self._expect()
        try:
            return await self._turn(script, keys, arguments)
        except FAULTS as fault:
            raise self._away(fault) from None

    def close(self) -> None:
        """Use it no more."""
        self._up.clear()
        self._keeping.cancel()
        with contextlib.suppress(*FAULTS):
            self._start(self._client.aclose()).result(1.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _start(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _begin(self, parts: Sequence[str], clock: Clock) -> None:
        for part in parts:
            await self._run(_BEGIN, [part + "#epoch"], [f"{clock.now():.6f}"])

    async def _turn(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The same beside so many others; who blocks a caller waits for none of these."""
        async with self._turns:
            self._expect()
            return await self._run(script, keys, arguments)

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        if isinstance(script, Timed):
            arguments = (*arguments, ANY_SKEW if self._clock is None else SKEW)
        async with asyncio.timeout(self._seconds):
            return await script.run(self._client, keys, arguments)

    async def _keep(self) -> None:
        """Connect, and connect again after each fault; never on a caller's time."""
        self._failed = asyncio.Event()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._client = connected(self._address, seconds=max(1.0, self._seconds))
        here = self.part("here") + "#format"
        while True:
            try:
                async with asyncio.timeout(2.0):
                    if self._clock is not None:
                        now = f"{self._clock.now():.6f}"
                        await _AGREED.run(self._client, [here], [now, SKEW])
                    self._format = int(await _HERE.run(self._client, [here], [FORMAT]))
                    self._unfit = await unfit(self._client)
                    for one in () if self.up else tuple(self._begun):
                        await self._begin(*one)
            except Exception as fault:  # noqa: BLE001 - whatever it is, it is tried again
                self._down(fault)
            else:
                self._failed.clear()
                self._judge()
            self._told.set()
            if self.up:  # after a fault it is asked at once: one answer may have been late
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._failed.wait(), LOOK_SECONDS)
            else:
                await asyncio.sleep(_PAUSE)

    def _judge(self) -> None:
        """Go by what it said: it may have been configured otherwise since it was looked at."""
        fit = readable(self._format) and not self._unfit
        if fit and not self.up:
            self._up.set()
            log.info("shared_server_here")
        elif self._unfit and self.up:
            self._up.clear()
            log.error("shared_server_unfit", why=self._unfit, code="PC7086")

    def _expect(self) -> None:
        if not self._up.is_set():
            raise Away("it is away")

    def _away(self, fault: BaseException) -> Away:
        self._down(fault)
        if self._failed is not None:
            self._loop.call_soon_threadsafe(self._failed.set)
        return Away(_named(fault))

    def _down(self, fault: BaseException) -> None:
        if self._up.is_set():
            self._up.clear()
            log.warning("shared_server_away", fault=_named(fault))


def _named(fault: BaseException) -> str:
    seconds = ahead(fault)
    if seconds is None:
        return type(fault).__name__
    return f"the clock here is {seconds} seconds ahead of the server's"


_BEGIN: Final = Timed(EPOCH + "return since")
_AGREED: Final = Timed(REFUSE + "return 1")
_HERE: Final = Script("""
local said = math.max(tonumber(redis.call('GET', KEYS[1]) or ARGV[1]), tonumber(ARGV[1]))
redis.call('SET', KEYS[1], said, 'EX', 604800)
return said
""")
"""The newest format of any program here: an older one that comes back is refused."""


def unusable(what: str) -> Problem:
    """Problem PC7050 about something shared that cannot be used; why is in the log, once."""
    return Problem("PC7050", what)
