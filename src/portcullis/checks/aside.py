"""Decisions that may take long, off the event loop: no other call waits for them.

A policy with hand-written packages asks a process of its own about every call, which may take a
second. So such decisions are made on a few threads, and each agent has one of these at a time: one
that brings what takes long waits for itself alone.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from portcullis.core.call import Call, Context
from portcullis.core.ports import PolicyDecisionPoint
from portcullis.core.verdict import Allow, Deny

THREADS: Final = 4
"""So many agents are asked about at once, each in a process of some 30 MiB."""


class Aside:
    """Has a PDP decide on threads; they are there from the first question on."""

    def __init__(self, pdp: PolicyDecisionPoint) -> None:
        self._pdp = pdp
        self._threads: ThreadPoolExecutor | None = None
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    def wanted(self, context: Context) -> bool:
        """Whether a decision for this caller may take long."""
        return self._pdp.lasting(context)

    async def decide(self, call: Call, context: Context) -> Allow | Deny:
        """As the PDP does. Who is cut off meanwhile keeps the agent's turn until it is decided."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "policy")
        agent, loop = context.principal.id, asyncio.get_running_loop()
        turn = self._turns.setdefault(agent, asyncio.Lock())
        self._waiting[agent] = self._waiting.get(agent, 0) + 1
        try:
            await turn.acquire()
        except BaseException:
            self._left(agent)
            raise
        decided = loop.run_in_executor(self._threads, self._pdp.decide, call, context)
        decided.add_done_callback(lambda _: self._ended(agent, turn))
        return await asyncio.shield(decided)

    def _ended(self, agent: str, turn: asyncio.Lock) -> None:
        turn.release()
        self._left(agent)

    def _left(self, agent: str) -> None:
        self._waiting[agent] -= 1
        if not self._waiting[agent]:
            del self._waiting[agent], self._turns[agent]
