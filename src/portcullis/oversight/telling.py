"""Telling a channel what it is to be told: each has its own pace, and none waits for another."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec
import structlog

from portcullis.config.notifications import AnyChannel
from portcullis.core.alert import Alert, Hears
from portcullis.core.alert_ports import AlertChanges
from portcullis.core.approval_ports import ApprovalStore
from portcullis.core.errors import Problem
from portcullis.core.notice import Notice
from portcullis.core.notice_ports import Later, Never, NoticeStore, Teller
from portcullis.core.ports import Clock
from portcullis.oversight.notices import (
    FROZEN,
    delivered,
    drafted,
    filing,
    frozen_filing,
    given_up,
    hopeless,
    message,
    place,
    put_off,
    reference,
    wants_agent,
    withdrawn,
)
from portcullis.oversight.notices_alerts import alert_filing, loud_enough

AMENDING_SECONDS: Final = 5.0
"""Between two tellings of more than one call, where the message is amended."""
FOLLOWING_SECONDS: Final = 60.0
"""The same, where each telling is another message."""
_FIRST, _LONGEST = 1.0, 300.0
_LONGEST_REST: Final = 60.0
_LONGEST_AFTER: Final = 3600.0
_MOST_ATTEMPTS: Final = 30
_CHANGES: Final = 64
"""Most that is noted in one transaction: calls that are held write there too."""
_IDLE_SECONDS: Final = 0.5
_MOST_UNTOLD: Final = 16

log = structlog.get_logger(__name__)

Noticed = Callable[[str, dict[str, str]], None]


class State(msgspec.Struct):
    """How a channel is doing since the gate started, for whoever shows it."""

    sent: int = 0
    failures: int = 0
    given_up: int = 0
    waiting: int = 0
    damaged: int = 0
    failing: bool = False


class Channel:
    """One channel. ``origin`` is the console's, without a slash at its end.

    ``alerts`` is where those are that it is told of, and which it hears of; None for none.

    ``noticed`` is told, with a method and clear parameters, that the channel fails, works again,
    or that a message was given up; it may raise Problem PC6001 and is then told again.
    """

    def __init__(
        self,
        name: str,
        settings: AnyChannel,
        teller: Teller,
        *,
        store: NoticeStore,
        approvals: ApprovalStore,
        clock: Clock,
        noticed: Noticed,
        origin: Callable[[], str],
        alerts: tuple[AlertChanges, Sequence[Hears]] | None = None,
        first: float = _FIRST,
    ) -> None:
        self.name = name
        self.state = State()
        self._alerts = alerts
        self._to_look, self._to_step = asyncio.Event(), asyncio.Event()
        self._settings = settings
        self._teller = teller
        self._store = store
        self._approvals = approvals
        self._clock = clock
        self._noticed = noticed
        self._origin = origin
        self._first = first
        self._spacing = AMENDING_SECONDS if teller.amends else FOLLOWING_SECONDS
        self._sent_at: deque[float] = deque(maxlen=settings.per_minute)
        self._failed = 0
        self._rests_until = 0.0
        self._untold: deque[tuple[str, dict[str, str]]] = deque(maxlen=_MOST_UNTOLD)

    async def run(self) -> None:
        """Look and tell for ever, neither waiting for the other. Only the gate's end ends it."""
        async with asyncio.TaskGroup() as tasks:
            for move, woken in (
                (self.look, self._to_look),
                (self.step, self._to_step),
                (self._rest, asyncio.Event()),
            ):
                tasks.create_task(self._ever(move, woken))

    def wake(self) -> None:
        """Look at once: something is new. Call it on the loop that it runs on."""
        self._to_look.set()

    async def _ever(self, move: Callable[[], Awaitable[bool]], woken: asyncio.Event) -> None:
        said = ""
        while True:
            woken.clear()
            try:
                moved, said = await move(), ""
            except Exception as error:  # noqa: BLE001 - it is tried again, and said once
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                if fault != said:
                    log.warning("notices_not_told", channel=self.name, fault=fault)
                said, moved = fault, False
            if not moved:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE_SECONDS):
                        await woken.wait()

    async def close(self) -> None:
        """Release what it is told through."""
        await self._teller.close()

    async def look(self) -> bool:
        """Note what has come further; whether there may be more. Nothing is sent."""
        noted, more = await asyncio.to_thread(self._look)
        if noted:
            self._to_step.set()
        return more

    async def step(self) -> bool:
        """Tell the gravest that is due; False when nothing is due or may be sent now."""
        if self._clock.monotonic() < self._rests_until or not self._may():
            return False
        now = self._clock.now()
        latest = now + _LONGEST_AFTER
        notice = await asyncio.to_thread(self._store.due, self.name, now, latest)
        if notice is None:
            return False
        settings = self._settings
        wanted = loud_enough(notice, () if self._alerts is None else self._alerts[1])
        drafting = partial(drafted, now, self._origin(), settings, wanted=wanted)
        draft = await self._change(notice, drafting)
        if draft is None or not draft.draft:
            return True
        fresh = draft.turn > notice.turn  # else it may have arrived before we ended
        self._sent_at.append(self._clock.monotonic())
        try:
            told = await self._teller.tell(message(draft), reference(settings, draft))
        except Later as error:
            await self._later(draft, error, certain=fresh and not error.arrived)
        except Never as error:
            self.state.failures += 1
            self._failing(str(error))
            await self._give_up(draft, str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours is no reason to send at once
            later = Later(type(error).__name__, arrived=True)
            await self._later(draft, later, certain=False)
        else:
            now = self._clock.now()
            taken = partial(delivered, told, place(settings), now, self._spacing)
            await self._change(draft, taken)
            self.state.sent += 1
            self._working()
        return True

    async def _later(self, notice: Notice, error: Later, *, certain: bool) -> None:
        self.state.failures += 1
        self._failed = min(self._failed + 1, _MOST_ATTEMPTS)
        after = min(error.after, _LONGEST_AFTER)
        rest = max(self._jittered(self._failed, _LONGEST_REST), after)
        self._rests_until = self._clock.monotonic() + rest
        self._failing(str(error))
        now = self._clock.now()
        if hopeless(notice, now):
            await self._give_up(notice, str(error))
            return
        attempts = min(notice.attempts + 1, _MOST_ATTEMPTS)
        at = now + max(self._jittered(attempts, _LONGEST), after)
        await self._change(notice, partial(withdrawn if certain else put_off, str(error), at))

    async def _give_up(self, notice: Notice, fault: str) -> None:
        self.state.given_up += 1
        await self._change(notice, partial(given_up, fault, self._clock.now(), self._spacing))
        self._say("notification.failed", notice=notice.id, fault=fault)

    async def _change(self, notice: Notice, changed: Callable[[Notice], Notice]) -> Notice | None:
        return await asyncio.to_thread(self._store.change, notice.id, changed)

    def _look(self) -> tuple[bool, bool]:
        """Whether anything was noted, and whether there may be more."""
        now = self._clock.now()
        changes = self._store.changes(self.name, _CHANGES)
        filings = [filing(self.name, self._settings, one, now, self._spacing) for one in changes]
        frozen = set(self._approvals.frozen())
        known = {one.removeprefix(FROZEN) for one in self._store.following(self.name, FROZEN)}
        new = {one for one in frozen - known if wants_agent(self._settings, one)}
        filings += [
            frozen_filing(self.name, agent, now, lifted=agent in known)
            for agent in sorted(new | (known - frozen))
        ]
        raised = self._raised()
        filings += [
            alert_filing(self.name, self._settings, one, now, amends=self._teller.amends)
            for one in raised
        ]
        if filings:
            self._store.file(self.name, filings)
        self.state.waiting = self._store.waiting(self.name)
        self.state.damaged = self._store.damaged(self.name)
        return bool(filings), max(len(changes), len(raised)) >= _CHANGES

    def _raised(self) -> tuple[Alert, ...]:
        if self._alerts is None:
            return ()
        store, hears = self._alerts
        return store.changes(self.name, hears, _CHANGES)

    def _may(self) -> bool:
        """Whether the channel may be sent another message in this minute."""
        full = len(self._sent_at) == self._settings.per_minute
        return not full or self._clock.monotonic() - self._sent_at[0] > 60.0  # noqa: PLR2004 - s

    def _jittered(self, attempt: int, longest: float) -> float:
        delay = min(longest, self._first * 2.0 ** (attempt - 1))
        return random.uniform(delay / 2, delay)  # noqa: S311 - spreads retries, no secret

    def _failing(self, fault: str) -> None:
        if not self.state.failing:
            self.state.failing = True
            log.warning("notification_channel_failing", channel=self.name, fault=fault)
            self._say("notification.failing", fault=fault)

    def _working(self) -> None:
        self._failed = 0
        if self.state.failing:
            self.state.failing = False
            log.info("notification_channel_working", channel=self.name)
            self._say("notification.recovered")

    def _say(self, method: str, **said: str) -> None:
        self._untold.append((method, {"channel": self.name} | said))
        self._tell_rest()

    async def _rest(self) -> bool:
        self._tell_rest()
        return False

    def _tell_rest(self) -> None:
        """Say what is to be said; what the log does not take now is said later."""
        with contextlib.suppress(Problem):
            while self._untold:
                self._noticed(*self._untold[0])
                self._untold.popleft()
