"""The ports of what is remembered of a session."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from portcullis.core.principal import Measure, Proposal, Session


class SessionState(Protocol):
    """The sessions and what is remembered within them.

    A session that was opened is found by any gateway at once, and is gone at its expiry or
    close. State that cannot be read raises: the caller denies. ``is_open`` is what running calls
    are held against: O(1), in memory, at most as old as the last ``get``. ``propose`` and
    ``proposed`` are keyed by session id or, outside a session, by the agent's id; an adapter
    keeps at least the last 64 proposals of each key, and ``proposed`` consumes the one it finds.
    ``opened`` are those that are open as far as this process knows, in no order.
    ``say`` adds a turn of the user's, durably, and returns the session; None when it is not open.
    ``close`` ends a session at once, and raises Problem PC9002 when that is not durable: until it
    is, ``closing`` returns the session, which a restart would open again. ``settle`` tries again to
    make such ends durable, and sees which sessions other processes have ended; Problem PC9002.
    """

    async def open(self, session: Session) -> None: ...
    async def get(self, session_id: str) -> Session | None: ...
    async def say(self, session_id: str, text: str) -> Session | None: ...
    def is_open(self, session_id: str) -> bool: ...
    def opened(self) -> tuple[Session, ...]: ...
    async def close(self, session_id: str) -> bool: ...
    def closing(self, session_id: str) -> Session | None: ...
    async def settle(self) -> None: ...
    async def propose(self, key: str, proposals: Sequence[Proposal]) -> None: ...
    async def proposed(self, key: str, names: frozenset[str], digest: str) -> Proposal | None: ...


class Spending(Protocol):
    """What sessions have used of their budgets: one count for all processes, which only rises.

    ``take`` takes one of each of these measures, durably, and returns None; or it takes nothing,
    and returns a measure of which nothing is left. ``left`` is what is left of each measure in the
    budget. What the budget does not limit is not counted. Both raise Problem PC2006 for a session
    that has ended, of which nothing is kept, and PC9002 when it cannot be read or written: then
    deny.
    """

    async def take(self, session: Session, measures: Collection[Measure]) -> Measure | None: ...
    async def left(self, session: Session) -> dict[Measure, int]: ...
