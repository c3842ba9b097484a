"""One round: a fleet under load meets a fault, or several at once, and is left alone again.

What a round does and when is chosen by its seed; what happens then is the machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import aiohttp

from chaos.faults import FAULTS, Proof
from chaos.history import (
    Approved,
    Bounds,
    Budget,
    Consumed,
    Decided,
    Fault,
    History,
    Killed,
    Served,
    Verified,
)
from chaos.house import (
    AGENTS,
    CALLS,
    CONTROL,
    GATEWAYS,
    LEASE,
    TOKENS,
    House,
    Seen,
    Session,
)
from chaos.load import WORDS, Clients
from chaos.tried import STEADY
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier, verify

T = TypeVar("T")
_READERS: Final = 3
_OTHERS: Final = 4
"""Agents that nobody kills."""
_RETRY: Final = 0.15
_LAG: Final = 0.5
_SERVES: Final = 20.0
"""Seconds after a fault, beside three times what the fleet took to start on this machine."""
_AHEAD: Final = "clock of control +1 h"
"""It ends approvals that nobody has used yet."""
_ENDS: Final = 300.0
"""Seconds that a round may take."""


@dataclass(frozen=True)
class Pace:
    """Seconds that a fault lasts, from and to."""

    least: float = 1.2
    most: float = 1.2


class Round:
    """Everything of one round; ``history`` is what is known of it."""

    def __init__(
        self, house: House, number: int, kinds: Sequence[str], seed: int, pace: Pace
    ) -> None:
        self._house = house
        self._number = number
        self._kinds = tuple(kinds)
        self._chance = random.Random(f"{seed} {number}")
        self._lasts = self._chance.uniform(pace.least, pace.most)
        self._due = f"what is due in round {number}"
        self._over = asyncio.Event()
        self.lag = 0.0
        self._serves = _SERVES + 3 * house.took
        self.history: Final = History(bounds=self._bounds())
        self.proof: Final[Proof] = []

    def _bounds(self) -> Bounds:
        return Bounds(lease=LEASE, lag=_LAG + self.lag, serves=self._serves)

    async def run(self) -> None:
        """Go through it. Whatever it raises, the round did not come to its end."""
        house = self._house
        house.books.clear()
        started = len(house.starts)
        async with asyncio.timeout(_ENDS), Clients(house, self.history) as clients:
            sessions = await self._opened()
            await self._approved(clients, sessions["pays"])
            async with asyncio.TaskGroup() as load:
                load.create_task(self._watch())
                self._begin(load, clients, sessions)
                await self._loaded(clients)
                if _AHEAD in self._kinds:
                    await clients.call("pay", sessions["pays"], GATEWAYS[0], self._due)
                self._meanwhile(load, clients, sessions)
                await self._fault()
                await self._healed(clients, sessions["works"])
                self._over.set()
            await self._last(clients, sessions)
        ended = (name for name, child in house.children.items() if child.poll() is not None)
        self.history.died = [*house.starts[started:], *ended]
        await asyncio.to_thread(self._looked)

    async def _loaded(self, clients: Clients) -> None:
        """Wait until calls of every kind that goes on are answered, and a stream comes."""
        deadline = time.monotonic() + self._serves

        def answered() -> set[str]:
            return {one.kind for one in self.history.asked if one.code == ""}

        while not clients.streams or set(STEADY) - answered():
            assert time.monotonic() < deadline, "calls are not answered before the fault"
            await asyncio.sleep(0.02)

    async def _fault(self) -> None:
        """Let all of it go wrong at once, for its time."""
        async with contextlib.AsyncExitStack() as faults:
            for kind in self._kinds:
                fault = FAULTS[kind](self._house, self._chance, self.proof)
                await faults.enter_async_context(fault)
            began = time.monotonic()
            await asyncio.sleep(self._lasts)
            ended = time.monotonic()
        self.history.faults.append(Fault(self._kinds, began, ended, tuple(self.proof)))

    async def _opened(self) -> dict[str, Session]:
        """The sessions of this round; who is killed is an agent of its own."""
        victim = f"agent-{_OTHERS + self._number % (AGENTS - _OTHERS)}"
        agents = {"works": "agent-0", "spends": "agent-1", "pays": "agent-2", "killed": victim}
        agents |= {f"reads {n}": "agent-3" for n in range(_READERS)} | {"clean": "agent-3"}
        found = {}
        for name, agent in agents.items():
            gateway = self._chance.choice(GATEWAYS)
            found[name] = Session(agent, *(await self._house.opened(agent, gateway, self._serves)))
        spends = found["spends"].id
        self.history.budgets += [
            Budget(spends, "spend", "calls", CALLS),
            Budget(spends, "chat", "tokens", TOKENS),
        ]
        return found

    async def _approved(self, clients: Clients, session: Session) -> None:
        """Somebody approves one payment, before anything goes wrong."""
        gateway, because = self._chance.choice(GATEWAYS), {"reason": "it is due"}
        approval = await self._soon(lambda: clients.hold(session, gateway, self._due))
        path = f"approvals/{approval}/approve"
        await self._soon(lambda: self._house.ask("POST", path, because, 10))
        self.history.approved.append(Approved(approval, self._due))

    async def _soon(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What is answered: a fleet that the last round has left may still refuse for a moment."""
        deadline = time.monotonic() + self._serves
        while True:
            try:
                return await ask()
            except (aiohttp.ClientError, TimeoutError, LookupError, TypeError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_RETRY)

    def _begin(
        self, load: asyncio.TaskGroup, clients: Clients, sessions: dict[str, Session]
    ) -> None:
        ways = GATEWAYS, GATEWAYS[::-1]
        for gateway in GATEWAYS:
            load.create_task(clients.stream(sessions["killed"], gateway, self._over))
        for way in ways:
            for name, kind, pace in (
                ("works", "note", 0.05),
                ("killed", "note", 0.08),
                ("spends", "spend", 0.1),
                ("spends", "chat", 0.1),
            ):
                load.create_task(clients.keep(kind, sessions[name], way, pace, self._over))

    def _meanwhile(
        self, load: asyncio.TaskGroup, clients: Clients, sessions: dict[str, Session]
    ) -> None:
        """What happens once, at some time of the fault."""
        ways = GATEWAYS, GATEWAYS[::-1]
        for way in ways:
            for _ in range(2):
                load.create_task(self._pay(clients, sessions["pays"], way, self._moment()))
        for n in range(_READERS):
            way = ways[n % 2]
            load.create_task(self._read(clients, sessions[f"reads {n}"], way, self._moment()))
        load.create_task(self._kill(sessions["killed"], self._moment()))

    def _moment(self) -> float:
        """Some time from the beginning of the fault to its end."""
        return self._chance.uniform(0, self._lasts)

    async def _pay(
        self, clients: Clients, session: Session, way: tuple[str, ...], wait: float
    ) -> None:
        """Do what was approved: everybody tries, several times."""
        await asyncio.sleep(wait)
        for gateway in way * 2:
            await clients.call("pay", session, gateway, self._due)
            await asyncio.sleep(_RETRY)

    async def _read(
        self, clients: Clients, session: Session, way: tuple[str, ...], wait: float
    ) -> None:
        """Read something confidential at one gateway, then try to get it out at the other."""
        await asyncio.sleep(wait)
        here, there = way
        done = await clients.call("read", session, here)
        while done.code and not self._over.is_set():
            await asyncio.sleep(_RETRY)
            done = await clients.call("read", session, here)
        for gateway in (there, here, there):
            await clients.call("post", session, gateway)

    async def _kill(self, session: Session, wait: float) -> None:
        """Kill an agent, or its session; again until somebody says that it acts."""
        await asyncio.sleep(wait)
        scope = ("agent", "session")[self._number % 2]
        value = session.agent if scope == "agent" else session.id
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                said = {"scope": scope, "value": value, "reason": "a storm"}
                await self._house.ask("POST", "kills", said)
                self.history.killed.append(Killed(scope, value, time.monotonic()))
                return
            await asyncio.sleep(_RETRY)

    async def _watch(self) -> None:
        """How late this process is: by so much it may be wrong about others."""
        while not self._over.is_set():
            before = time.monotonic()
            await asyncio.sleep(0.02)
            self.lag = max(self.lag, time.monotonic() - before - 0.02)

    async def _healed(self, clients: Clients, session: Session) -> None:
        """After how long each gateway serves again."""
        began, kinds = time.monotonic(), " and ".join(self._kinds)

        async def serves(gateway: str) -> Served:
            while time.monotonic() < began + self.history.bounds.serves:
                if (await clients.call("note", session, gateway)).code == "":
                    return Served(gateway, kinds, time.monotonic() - began)
                await asyncio.sleep(_RETRY)
            return Served(gateway, kinds, None)

        self.history.served += await asyncio.gather(*map(serves, GATEWAYS))
        await self._house.ready(CONTROL)

    async def _last(self, clients: Clients, sessions: dict[str, Session]) -> None:
        """What holds, holds afterwards too; and who may, can."""
        history, spends = self.history, sessions["spends"]
        for kind, times in (("spend", CALLS + 1), ("chat", TOKENS // WORDS + 1)):
            for _, gateway in zip(range(times), itertools.cycle(GATEWAYS), strict=False):
                await clients.call(kind, spends, gateway)
        earlier = [self._chance.choice(self._house.victims)] if self._house.victims else []
        history.killed += [kill for _, kill in earlier]
        history.bounds = bounds = self._bounds()
        over = max(kill.at for kill in history.killed) + bounds.lease + bounds.lag
        await asyncio.sleep(max(0.0, over - time.monotonic()) + 0.01)
        for gateway in GATEWAYS:
            for victim in (sessions["killed"], *(session for session, _ in earlier)):
                await clients.call("note", victim, gateway)
            await clients.call("pay", sessions["pays"], gateway, self._due)
            for n in range(_READERS):
                await clients.call("post", sessions[f"reads {n}"], gateway)
            await clients.call("post", sessions["clean"], gateway)
            await clients.official(sessions["works"], gateway)
        self._house.victims.append((sessions["killed"], history.killed[0]))

    def _looked(self) -> None:
        """What the upstream got, and what the logs say: each is verified as a copy."""
        history = self.history
        history.received += self._house.books
        with tempfile.TemporaryDirectory() as place:
            for name, log in self._house.logs().items():
                copy = Path(place) / name
                copied(log, copy)
                seen = self._house.seen.get(name) or Seen(own_verifier(copy), None, 0)
                report = verify(copy, seen.verifier, seen.checkpoint)
                history.verified.append(Verified(name, report.ok, report.reasons))
                entries = 0
                for record in records(copy, seen.verifier):
                    entries, event = record.index + 1, record.event
                    if event.method == "approval.consumed":
                        history.consumed.append(Consumed(event.approval, name))
                    elif event.type.value in {"tool_call", "llm_call"}:
                        history.decided.append(Decided(event.trace_id, name, event.verdict))
                if entries < seen.entries:
                    lost = f"it had {seen.entries} entries, and has {entries}"
                    history.verified.append(Verified(name, ok=False, reasons=(lost,)))
                published = copy / "checkpoint"
                note = published.read_bytes() if published.exists() else seen.checkpoint
                self._house.seen[name] = Seen(seen.verifier, note, entries)


def copied(log: Path, copy: Path) -> None:
    """Copy a log that is written meanwhile: first what was signed, then what that is about."""
    copy.mkdir()
    for name in ("checkpoint", "head"):
        if (log / name).exists():
            shutil.copy2(log / name, copy / name)
    shutil.copytree(
        log, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoint", "head", "*.sock")
    )
