"""The calls that run in agents' own programs: decided on, and not yet reported back.

Each takes a place before it is decided on, so that nothing is allowed that cannot be kept. It ends
once: by its result, or by whatever ends it before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from portcullis.config import Limits
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.gateway.outcome import Outcome
from portcullis.gateway.owned import unowned

MAX_BYTES: Final = 64 * 2**20
"""Most bytes of calls that run, in all; one agent has half of that."""


class Begun(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A call that was allowed. ``until`` is when its result is late, on the monotonic clock.

    ``id`` is the call's, by which its result is claimed.
    """

    id: str
    outcome: Outcome
    context: Context
    until: float


class Running:
    """At most ``limits.calls_in_flight`` calls, and ``limits.calls_per_agent`` of one agent.

    ``named`` makes a call's id of its event's, which never comes twice.
    """

    def __init__(self, limits: Limits, named: Callable[[str], str] = unowned) -> None:
        self._limits = limits
        self._named = named
        self._begun: dict[str, Begun] = {}
        self._calls: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._closed = False

    def __len__(self) -> int:
        return len(self._begun)

    def __iter__(self) -> Iterator[Begun]:
        return iter(tuple(self._begun.values()))

    @contextmanager
    def room(self, context: Context, size: int) -> Iterator[None]:
        """Keep a place for a call of ``size`` bytes while it is decided on.

        Raises Problem PC5006 when there is none, PC5025 when none is left for the agent.
        """
        agent, limits = context.principal.id, self._limits
        if self._calls.total() >= limits.calls_in_flight:
            raise Problem("PC5006", f"more than {limits.calls_in_flight} calls run in agents")
        if self._calls[agent] >= limits.calls_per_agent:
            raise Problem("PC5025", f"more than {limits.calls_per_agent} calls of one agent run")
        if self._bytes.total() + size > MAX_BYTES:
            raise Problem("PC5006", "the calls that run in agents take too much room")
        if self._bytes[agent] + size > MAX_BYTES // 2:
            raise Problem("PC5025", "the calls that run in one agent take too much room")
        self._take(agent, 1, size)
        try:
            yield
        finally:
            self._take(agent, -1, -size)

    def begin(self, outcome: Outcome, context: Context, until: float) -> Begun:
        """From now on its result may come. Raises Problem PC5013 once ``close`` was called."""
        if self._closed:
            raise Problem("PC5013", "the gate is shutting down")
        call_id = self._named(outcome.event)
        begun = Begun(id=call_id, outcome=outcome, context=context, until=until)
        self._begun[begun.id] = begun
        self._take(context.principal.id, 1, len(outcome.call.body))
        return begun

    def claim(self, call_id: str, context: Context) -> Begun | None:
        """End a call in its caller's name: whoever it was allowed to, for whom, in that session.

        None when there is no such call of this caller's, for whatever reason.
        """
        begun = self._begun.get(call_id)
        if begun is None or _owner(begun.context) != _owner(context) or not self.end(begun):
            return None
        return begun

    def end(self, begun: Begun) -> bool:
        """End a call; whether it ran until now."""
        if self._begun.pop(begun.id, None) is None:
            return False
        self._take(begun.context.principal.id, -1, -len(begun.outcome.call.body))
        return True

    def close(self) -> None:
        """Begin no more."""
        self._closed = True

    def _take(self, agent: str, calls: int, size: int) -> None:
        for counts, more in ((self._calls, calls), (self._bytes, size)):
            counts[agent] += more
            if not counts[agent]:
                del counts[agent]


def _owner(context: Context) -> tuple[object, ...]:
    """Whose call it is: the principal, those on whose behalf it acts, and the session."""
    principal, session = context.principal, context.session
    return principal.kind, principal.id, principal.chain, session.id if session else ""
