"""Names of hosts, looked up on threads of their own: nobody's slow name holds up anything else.

A lookup cannot be ended before the system's resolver gives up, so each agent has a share of the
threads, a name is looked up once for all who ask meanwhile, and that it has no address is known
for a while, too.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from portcullis.core.errors import Problem

KNOWN_SECONDS: Final = 10.0
"""How long an answer of the resolver's is kept: a client asks for a name, then connects."""
_KNOWN: Final = 1024
_AT_ONCE: Final = 16
"""Lookups at once, in all."""
_SHARE: Final = 4
"""Of one agent."""


class Names:
    """Asks the system's resolver. A lookup may take ``seconds`` of who waits for it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._workers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="egress-names")
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._asked: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._busy: dict[str, int] = {}

    def close(self) -> None:
        """Start no more lookups; those that run end when the resolver has done with them."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def addresses(self, host: str, agent: str) -> tuple[str, ...]:
        """The addresses of a name. Raises Problem PC5051, and for too many PC5006 or PC5025."""
        known = self._known.get(host)
        if known is not None and asyncio.get_running_loop().time() < known[0]:
            found = known[1]
        else:
            asked = self._asked.get(host) or self._ask(host, agent)
            try:
                async with asyncio.timeout(self._seconds):
                    found = await asyncio.shield(asked)
            except TimeoutError:
                found = ()
        if not found:
            raise Problem("PC5051", "the host's name has no address")
        return found

    def _ask(self, host: str, agent: str) -> asyncio.Future[tuple[str, ...]]:
        running = self._busy.get(agent, 0)
        if len(self._asked) >= _AT_ONCE:
            raise Problem("PC5006", "too many names are looked up at once")
        if running >= _SHARE:
            raise Problem("PC5025", "too many names are looked up for one agent at once")
        asked = asyncio.get_running_loop().run_in_executor(self._workers, _looked_up, host)
        self._asked[host] = asked
        self._busy[agent] = running + 1
        asked.add_done_callback(partial(self._answered, host, agent))
        return asked

    def _answered(self, host: str, agent: str, asked: asyncio.Future[tuple[str, ...]]) -> None:
        del self._asked[host]
        self._busy[agent] -= 1
        if not self._busy[agent]:
            del self._busy[agent]
        if asked.cancelled():
            return
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[host] = (asked.get_loop().time() + KNOWN_SECONDS, asked.result())


def _looked_up(host: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))
