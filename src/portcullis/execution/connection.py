"""One connection to an upstream: it carries one exchange at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.execution.answer import Answer
from portcullis.execution.watch import Watch

HIGH_WATER: Final = 65_536
"""With so many bytes of body unread, we stop reading from the socket."""


class Connection(asyncio.Protocol):
    """``ask`` begins an exchange, ``piece`` reads its body, ``finish`` ends it.

    ``lost`` is called once, when the socket is closed. ``idle_since`` is the loop's time at which
    the last exchange ended, ``peer`` the workload at the other end where it was verified as one.
    Data that comes while no answer is due closes the connection: it must not be taken for the
    answer to the next request.
    """

    __slots__ = ("_answer", "_loop", "_lost", "_paused", "_problem", "_transport",
                 "_waiter", "idle_since", "peer", "watch")  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._lost = lost
        self._answer: Answer | None = None
        self._problem: Problem | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self.idle_since = 0.0
        self.peer: Peer | None = None
        self.watch = Watch(self._expired)

    async def ask(self, request: bytes, *, seconds: float, limit: int) -> Answer:
        """Write a whole request and return when the head of its answer is there.

        ``watch`` then goes on to allow ``seconds`` for the body. Raises Problem PC5001 when the
        peer ends the connection, PC5002 when the time is over, PC5003 for what is not HTTP.
        """
        if self._problem is not None:
            raise self._problem
        answer = self._answer = Answer(limit)
        self.watch.start(seconds)
        self._transport.write(request)
        while not answer.arrived:
            await self._news()
        return answer

    async def piece(self) -> bytes:
        """Return what came of the body, or wait for it; nothing at its end.

        Raises Problem PC5002, PC5004 or PC5008 when all that came before has been returned.
        """
        answer = self._answer
        while answer is not None:
            data = answer.take()
            if data or answer.complete:
                return data
            self.watch.wait()
            await self._news()
            self.watch.heard()
        raise self._problem or _closed()

    def finish(self) -> bool:
        """End the exchange; say whether the connection may carry another, else abort it."""
        answer, self._answer = self._answer, None
        self.watch.stop()
        transport = self._transport
        if (
            answer is not None
            and answer.reusable
            and self._problem is None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        ):
            self._resume()
            self.idle_since = self._loop.time()
            return True
        self._fail(_closed())
        return False

    def abort(self) -> None:
        """Close the socket at once; whoever waits gets Problem PC5001 or PC5008."""
        self._fail(self._cut("the gate closed the connection"))

    @property
    def closing(self) -> bool:
        """Whether the socket is closed or about to be."""
        return self._transport.is_closing()

    # What follows is called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio's callback)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the answer that is due (asyncio's callback)."""
        answer = self._answer
        if answer is None or answer.complete:
            self._transport.abort()
            return
        try:
            answer.feed(data)
        except Problem as problem:
            self._fail(problem)
            return
        self._wake()
        if answer.waiting > HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """Take the peer's orderly end (asyncio's callback); the transport then closes itself."""
        if self._answer is None:
            return
        tls = self._transport.get_extra_info("ssl_object")
        if tls is not None and not _ended(tls):
            return  # the loop calls this for a cut connection, too; then it is lost
        try:
            self._answer.end()
        except Problem as problem:
            self._fail(problem)
        else:
            self._answer.reusable = False
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits (asyncio's callback)."""
        self.watch.close()
        if self._answer is None or not self._answer.complete:
            said = alert(exc)
            how = f"refused TLS with us ({said})" if said else "broke the connection"
            self._fail(self._cut(f"the upstream {how}"))
        self._lost(self)

    def _expired(self) -> None:
        answer = self._answer
        if answer is None or answer.complete:
            return
        what = "fell silent or took too long over its answer"
        self._fail(
            Problem(
                "PC5002", f"the upstream {what if answer.arrived else 'did not begin to answer'}"
            )
        )

    def _cut(self, what: str) -> Problem:
        if self._answer is None or not self._answer.arrived:
            return Problem("PC5001", f"{what} before an answer came")
        return Problem("PC5008", f"{what} in the middle of the answer")

    def _fail(self, problem: Problem) -> None:
        if self._problem is None:
            self._problem = problem
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    async def _news(self) -> None:
        """Wait until something has happened; raise what went wrong."""
        if self._problem is None:
            self._resume()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._problem is not None:
            raise self._problem


def alert(error: Exception | None) -> str:
    """The peer's TLS alert (RFC 8446 section 6) in OpenSSL's words; empty for another error."""
    reason = error.reason or "" if isinstance(error, ssl.SSLError) else ""
    return reason.lower() if "_ALERT_" in reason else ""


def _ended(tls: ssl.SSLObject) -> bool:
    """Say whether the peer ended TLS itself (close_notify), which nobody on the way can forge.

    Without it, what looks like an end may be a cut (RFC 9112 section 9.8).
    """
    try:
        return not tls.read(1)
    except ssl.SSLError:
        return False


def _closed() -> Problem:
    return Problem("PC5008", "the answer was closed while it was being read")
