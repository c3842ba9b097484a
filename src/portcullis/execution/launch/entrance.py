"""The gate's egress listener, as the launcher comes in by it: under an identity, and a session's.

A connection costs a handshake of mutual TLS, and in a session a token that is shown first. So a few
are made ahead. Nothing of the box's has gone by them: one that was lost meanwhile is one fewer.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn
from urllib.parse import urlsplit

from portcullis.client.connector import Kept
from portcullis.client.gate import Link
from portcullis.core.errors import Problem
from portcullis.execution.launch.ends import End

CONNECT_SECONDS: Final = 10
LOST: Final = (Problem, OSError, TimeoutError, EOFError)
"""How making a connection fails."""
SPARES: Final = 2
"""So many connections are made ahead."""
_SETTLE_SECONDS: Final = 0.05
"""Before another is made in the place of one that was taken: what took it goes first."""
_AGAIN_SECONDS: Final = 0.5, 30.0
"""Before another is made in the place of one that was of no use: at first, and at most."""
_MAX_HEAD: Final = 16384
_MAX_PEM: Final = 2**20
_DNS: Final = "application/dns-message"
_GRANTED: Final = (204,)
_AUTHORITY: Final = (200, 204)


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A connection, and what it was made with. ``token`` is its session's, empty for none."""

    end: End
    context: ssl.SSLContext | None
    token: str

    def stands(self) -> bool:
        """Whether the gate has neither ended it nor said anything, as far as is known here."""
        if not self.end.silent:
            return False
        poll = select.poll()
        poll.register(self.end.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def drop(self) -> None:
        """Close it; nobody is told."""
        self.end.ended = None
        self.end.transport.abort()


class Entrance:
    """Makes connections to the listener at ``url``. ``session`` says that they act in one."""

    def __init__(self, gate: Kept, url: str, *, session: bool) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._gate = gate
        self._session = session

    async def now(self) -> tuple[Link, str]:
        """What a connection is to be made with: the newest link, and its token."""
        link = self._gate.link()
        if not self._session:
            return link, ""
        granted = await link.grant("POST", self._gate.url)
        return link, granted.headers["authorization"]

    async def opened(self, link: Link, token: str, *, ahead: bool = False) -> Way:
        """A connection. One made ``ahead`` is shown to be admitted, and kept as others are."""
        made = await asyncio.get_running_loop().create_connection(
            End, self._host, self._port, ssl=link.context
        )
        end = made[1]
        try:
            if token or ahead:
                shown = f"authorization: {token}\r\n" if token else ""
                await _asked(end, "POST /session", shown, _GRANTED)
        except BaseException:
            end.transport.abort()
            raise
        return Way(end, link.context, token)

    async def answered(self, way: Way, question: bytes) -> bytes:
        """The answer to a question of DNS (RFC 8484), over a connection that stays good.

        Raises what ``LOST`` names.
        """
        shown = f"content-type: {_DNS}\r\n"
        length = await _asked(way.end, "POST /dns-query", shown, (200,), question)
        return await way.end.exactly(length)

    async def authority(self) -> bytes:
        """The root certificate (PEM) of the hosts whose TLS ends at the gate; empty for none."""
        way = await self.opened(*await self.now())
        try:
            length = await _asked(way.end, "GET /authority.pem", "", _AUTHORITY)
            return await way.end.exactly(length)
        finally:
            way.end.transport.abort()


class Spares:
    """Keeps ``SPARES`` connections ready while ``keep`` runs."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._ways: deque[Way] = deque()
        self._used = asyncio.Event()
        self._fewer = asyncio.Event()
        self._pause = _AGAIN_SECONDS[0]

    async def taken(self) -> End:
        """A connection for the box's bytes: one made ahead that stands, or a fresh one.

        Raises what ``LOST`` names.
        """
        link, token = await self._entrance.now()
        self._used.set()
        self._fewer.set()
        while self._ways:
            way = self._ways.popleft()
            if way.context is link.context and way.token == token and way.stands():
                self._pause = _AGAIN_SECONDS[0]
                way.end.ended = None
                return way.end
            way.drop()
        return (await self._entrance.opened(link, token)).end

    async def keep(self) -> NoReturn:
        """Make what is missing, as often as it is of use; cancel it to close what there is."""
        try:
            while True:
                self._used.clear()
                self._fewer.clear()
                if await self._filled():
                    await self._fewer.wait()
                    if not self._used.is_set():  # the gate ended one that nobody wanted
                        await self._in_vain()
                    await asyncio.sleep(_SETTLE_SECONDS)
                else:
                    self._used.clear()
                    await self._in_vain()
        finally:
            while self._ways:
                self._ways.popleft().drop()

    async def _filled(self) -> bool:
        """Make connections until there are enough; False when one could not be made."""
        while len(self._ways) < SPARES:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    way = await self._entrance.opened(*await self._entrance.now(), ahead=True)
            except LOST:
                return False
            self._ways.append(way)
            way.end.ended = partial(self._ended, way)
        return True

    def _ended(self, way: Way) -> None:
        way.drop()
        self._ways.remove(way)
        self._fewer.set()

    async def _in_vain(self) -> None:
        """Wait, each time longer, or until the box goes out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._used.wait()
        self._pause = min(2 * self._pause, _AGAIN_SECONDS[1])


async def _asked(
    end: End, line: str, headers: str, good: tuple[int, ...], body: bytes = b""
) -> int:
    """Ask something of the listener itself; how many bytes of an answer's body follow.

    Raises Problem PC7011 for another answer than a ``good`` one.
    """
    head = f"{line} HTTP/1.1\r\nhost: gate\r\n{headers}content-length: {len(body)}\r\n\r\n"
    end.transport.write(head.encode("ascii") + body)
    answer = (await end.until(b"\r\n\r\n", _MAX_HEAD)).decode("latin-1").lower()
    status, *fields = answer.split("\r\n")
    words = status.split(" ")
    code = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if code not in good:
        raise Problem("PC7011", f"the egress listener answered {code}")
    named = dict(field.partition(":")[::2] for field in fields if ":" in field)
    length = named.get("content-length", "0").strip()
    if not length.isdigit() or int(length) > _MAX_PEM:
        raise Problem("PC7011", "the egress listener's answer is too large")
    return int(length)
