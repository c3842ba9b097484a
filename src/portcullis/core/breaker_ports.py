"""The port for breakers that are open: in memory for the line, and known to all gateways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from portcullis.core.breaker import Breaker, Key, Scope, State


class BreakerBook(Protocol):
    """The breakers that are not closed. ``get`` is asked on every call: O(1), in memory.

    ``quiet`` says that all are closed.

    ``open`` acts in this process at once, and then becomes durable; it returns whether it was
    not open before, anywhere. ``probe`` takes the one probe that there is, for one caller of all
    gateways: it turns a breaker whose ``until`` is over half-open until then, or returns False.
    ``release`` gives up a probe that told nothing. ``failed`` ends a breaker's half-open state,
    ``close`` any, here at once and elsewhere when it is durable; they return whether there was
    one to end. ``all`` is every row of every gateway, read anew; ``count`` says how many of a
    scope are in a state, as last seen. ``begin`` forgets what this gateway itself had open of
    upstreams when it last ran. All but ``get`` and ``count`` raise Problem PC9002 when the store
    cannot be reached; ``open`` acts in this process all the same.

    ``subscribe`` has ``changed`` called with each key that came, changed or went through another
    process; ``watch`` follows them until cancelled.
    """

    @property
    def quiet(self) -> bool: ...
    def get(self, key: Key) -> Breaker | None: ...
    def count(self, scope: Scope, state: State) -> int: ...
    async def begin(self) -> None: ...
    async def open(self, breaker: Breaker) -> bool: ...
    async def probe(self, key: Key, now: float, until: float) -> bool: ...
    async def release(self, key: Key, now: float) -> None: ...
    async def failed(self, breaker: Breaker) -> bool: ...
    async def close(self, key: Key) -> bool: ...
    async def all(self) -> tuple[Breaker, ...]: ...
    def subscribe(self, changed: Callable[[Key], None]) -> None: ...
    async def watch(self, seconds: float = 0.1) -> None: ...
