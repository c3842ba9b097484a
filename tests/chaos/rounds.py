"""One round: a fleet under load meets a fault, or several at once, and is left alone again.

What a round does and when is chosen by its seed; what happens then is the machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from chaos.faults import FAULTS, Proof
from chaos.history import (
    Approved,
    Bounds,
    Budget,
    Consumed,
    Decided,
    History,
    Killed,
    Served,
    Verified,
)
from chaos.house import AGENTS, CALLS, CONTROL, GATEWAYS, LEASE, TOKENS, House
from chaos.load import Clients, Session
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier, verify

_READERS: Final = 3
_OTHERS: Final = 4
"""Agents that nobody kills."""
_RETRY: Final = 0.15
_LAG: Final = 0.5
_SERVES: Final = 20.0
"""Seconds after a fault, beside three times what the fleet took to start on this machine."""
_BEFORE: Final = 0.3
"""Seconds of a round before something goes wrong."""


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
        self._over = asyncio.Event()
        self._lag = 0.0
        self._serves = _SERVES + 3 * house.took
        self.history: Final = History(bounds=self._bounds())
        self.proof: Final[Proof] = []

    def _bounds(self) -> Bounds:
        return Bounds(lease=LEASE, lag=_LAG + self._lag, serves=self._serves)

    async def run(self) -> None:
        """Go through it."""
        self._house.books.clear()
        async with Clients(self._house, self.history) as clients:
            sessions = await self._opened()
            await self._approved(clients, sessions["pays"])
            async with asyncio.TaskGroup() as load:
                load.create_task(self._watch())
                self._begin(load, clients, sessions)
                await asyncio.sleep(_BEFORE)
                async with contextlib.AsyncExitStack() as faults:
                    for kind in self._kinds:
                        fault = FAULTS[kind](self._house, self._chance, self.proof)
                        await faults.enter_async_context(fault)
                    await asyncio.sleep(self._lasts)
                await self._healed(clients, sessions["works"])
                self._over.set()
            await self._last(clients, sessions)
        await asyncio.to_thread(self._looked)

    async def _opened(self) -> dict[str, Session]:
        """The sessions of this round; who is killed is an agent of its own."""
        victim = f"agent-{_OTHERS + self._number % (AGENTS - _OTHERS)}"
        agents = {"works": "agent-0", "spends": "agent-1", "pays": "agent-2", "killed": victim}
        agents |= {f"reads {n}": "agent-3" for n in range(_READERS)} | {"clean": "agent-3"}
        found = {}
        for name, agent in agents.items():
            gateway = self._chance.choice(GATEWAYS)
            found[name] = Session(agent, *(await self._house.opened(agent, gateway)))
        spends = found["spends"].id
        if not any(kind.startswith("clock of a gateway") for kind in self._kinds):
            self.history.budgets += [  # which hold where gateways' clocks agree: docs/limits.md
                Budget(spends, "spend", "calls", CALLS),
                Budget(spends, "chat", "tokens", TOKENS),
            ]
        return found

    async def _approved(self, clients: Clients, session: Session) -> None:
        """Somebody approves one payment, before anything goes wrong."""
        text = f"what is due in round {self._number}"
        approval = await clients.hold(session, self._chance.choice(GATEWAYS), text)
        await self._house.ask("POST", f"approvals/{approval}/approve", {"reason": "it is due"})
        self.history.approved.append(Approved(approval, text))

    def _begin(
        self, load: asyncio.TaskGroup, clients: Clients, sessions: dict[str, Session]
    ) -> None:
        ways = GATEWAYS, GATEWAYS[::-1]
        for way in ways:
            for name, kind, pace in (
                ("works", "note", 0.05),
                ("killed", "note", 0.08),
                ("spends", "spend", 0.1),
                ("spends", "chat", 0.1),
            ):
                load.create_task(clients.keep(kind, sessions[name], way, pace, self._over))
            for _ in range(2):
                load.create_task(self._pay(clients, sessions["pays"], way, self._moment()))
        for n in range(_READERS):
            way = ways[n % 2]
            load.create_task(self._read(clients, sessions[f"reads {n}"], way, self._moment()))
        load.create_task(self._kill(sessions["killed"], self._moment()))

    def _moment(self) -> float:
        """Some time from a little before the fault to its end."""
        return self._chance.uniform(_BEFORE / 2, _BEFORE + self._lasts)

    async def _pay(
        self, clients: Clients, session: Session, way: tuple[str, ...], wait: float
    ) -> None:
        """Do what was approved: everybody tries, several times."""
        await asyncio.sleep(wait)
        text = self.history.approved[0].text
        for gateway in way * 2:
            await clients.call("pay", session, gateway, text)
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
            self._lag = max(self._lag, time.monotonic() - before - 0.02)

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
        for gateway in GATEWAYS:
            await clients.call("note", sessions["killed"], gateway)
            await clients.call("spend", sessions["spends"], gateway)
            await clients.call("pay", sessions["pays"], gateway, self.history.approved[0].text)
            for n in range(_READERS):
                await clients.call("post", sessions[f"reads {n}"], gateway)
            await clients.call("post", sessions["clean"], gateway)
            await clients.official(sessions["works"], gateway)

    def _looked(self) -> None:
        """What the upstream got, and what the logs say: each is verified as a copy."""
        history = self.history
        history.bounds = self._bounds()
        history.received += self._house.books
        with tempfile.TemporaryDirectory() as place:
            for name, log in self._house.logs().items():
                copy = Path(place) / name
                copied(log, copy)
                report = verify(copy, own_verifier(copy))
                history.verified.append(Verified(name, report.ok, report.reasons))
                for record in records(copy, own_verifier(copy)):
                    event = record.event
                    if event.method == "approval.consumed":
                        history.consumed.append(Consumed(event.approval, name))
                    elif event.type.value in {"tool_call", "llm_call"}:
                        history.decided.append(Decided(event.trace_id, name, event.verdict))


def copied(log: Path, copy: Path) -> None:
    """Copy a log that is written meanwhile: first what was signed, then what that is about."""
    copy.mkdir()
    for name in ("checkpoint", "head"):
        if (log / name).exists():
            shutil.copy2(log / name, copy / name)
    shutil.copytree(
        log, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoint", "head", "*.sock")
    )
