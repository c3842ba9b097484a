"""From an accepted socket to a TLS connection with a known peer, or to a recorded refusal.

asyncio's own TLS server drops refused handshakes in silence. Here the sockets are accepted a few
per turn of the loop, so that a flood of handshakes does not hold up who is connected already, and
only so many may be unfinished: a new one makes room for itself by ending the oldest, so that those
who dawdle do not keep others out.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import structlog

from portcullis.core.errors import Problem
from portcullis.gateway.accepting import queued
from portcullis.gateway.live import Connection, Live
from portcullis.gateway.tls import ServerTls, refusal
from portcullis.wire.certificates import verified_chain

log = structlog.get_logger(__name__)

MAX_UNFINISHED: Final = 512
"""Most handshakes that have not come to an end."""
BURST: Final = 4
"""Sockets that are accepted in a row."""
PAUSE: Final = 0.002
"""Seconds between two such rows, in which everybody else is served."""
_LEAVING: Final = 1.0
"""Seconds that handshakes still get when nothing more is accepted."""
_OUT_OF_FILES: Final = 0.2
"""Seconds until the next attempt when no socket could be accepted."""


class Refused(Protocol):
    """Records a refusal below HTTP, given the peer's address; returns the problem to answer with.

    ``who`` are fields of the event: method, principal, credential.
    """

    def __call__(self, problem: Problem, peer: str, **who: str) -> Problem:
        """Record it."""
        ...


class Admissions:
    """What accepts the sockets of one listener, in the place of an ``asyncio.Server``.

    ``served`` makes the protocol that takes over an admitted connection. A handshake may take
    ``seconds``; a peer that does not read may take ``shutdown_seconds`` over the end of TLS.
    """

    def __init__(
        self,
        tls: ServerTls,
        live: Live,
        *,
        refused: Refused,
        seconds: float,
        shutdown_seconds: float,
        served: Callable[[Connection], asyncio.Protocol],
    ) -> None:
        self.tls = tls
        self.live = live
        self.served = served
        self._refused = refused
        self._seconds = seconds
        self._shutdown_seconds = shutdown_seconds
        self._unfinished: dict[asyncio.Task[None], str] = {}
        self._accepting: asyncio.Task[None] | None = None

    def start(self, listening: socket.socket) -> None:
        """Begin to accept from a socket that listens and does not block."""
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listening))

    async def leave(self, listening: socket.socket) -> None:
        """Accept no more than what is connected already, and let handshakes end, for a moment."""
        if self._accepting is not None:
            self._accepting.cancel()
        with contextlib.suppress(OSError):  # no more files
            for accepted, source in queued(listening):
                self._enter(accepted, source)
        if self._unfinished:
            seconds = min(self._seconds, _LEAVING)
            await asyncio.wait(tuple(self._unfinished), timeout=seconds)

    def close(self) -> None:
        """Accept no more, and end the handshakes that are not done."""
        if self._accepting is not None:
            self._accepting.cancel()
        for task in self._unfinished:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when nothing of that is left."""
        tasks = [*self._unfinished, *filter(None, [self._accepting])]
        await asyncio.gather(*tasks, return_exceptions=True)

    def refuse(self, problem: Problem, source: str, **who: str) -> None:
        """Record why somebody was not admitted."""
        self._refused(problem, source, method="tls", **who)

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            await _readable(listening)  # what is accepted here is not lost to a cancellation
            try:
                for accepted, source in queued(listening, BURST):
                    self._enter(accepted, source)
            except OSError as error:  # no more files
                log.warning("accept_failed", reason=error.strerror)
                await asyncio.sleep(_OUT_OF_FILES)
            await asyncio.sleep(PAUSE)

    def _enter(self, accepted: socket.socket, source: str) -> None:
        if len(self._unfinished) >= MAX_UNFINISHED:
            oldest = next(iter(self._unfinished))
            problem = Problem("PC5006", f"more than {MAX_UNFINISHED} handshakes at once")
            self.refuse(problem, self._unfinished.pop(oldest))
            oldest.cancel()
        task = asyncio.get_running_loop().create_task(self._shake(accepted, source))
        self._unfinished[task] = source
        task.add_done_callback(lambda done: self._unfinished.pop(done, None))

    async def _shake(self, accepted: socket.socket, source: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Arrival(self, source, accepted),
                accepted,
                ssl=self.tls.context(),
                ssl_handshake_timeout=self._seconds,
                ssl_shutdown_timeout=self._shutdown_seconds,
            )
        except Exception as error:  # noqa: BLE001 - ``refusal`` names them, the unknown is a fault
            problem = refusal(error)
            if problem is not None:
                self.refuse(problem, source)
            if isinstance(error, Problem):
                accepted.close()  # no transport has it


class _Arrival(asyncio.Protocol):
    """The moment between a handshake that is done and HTTP."""

    def __init__(self, admissions: Admissions, source: str, accepted: socket.socket) -> None:
        self._admissions = admissions
        self._source = source
        self._accepted = accepted

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Know the peer and hand over, or refuse."""
        admissions, who = self._admissions, {}
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        try:
            if admissions.tls.mutual:
                who["credential"] = _fingerprint(tls)
            abort = partial(_hang_up, self._accepted, transport)
            connection = Connection(abort, admissions.tls.peer(tls))
            who |= _named(connection)
            admissions.live.connect(connection)
            served = admissions.served(connection)
        except Exception as error:  # noqa: BLE001 - as above
            problem = refusal(error)
            if problem is not None:
                admissions.refuse(problem, self._source, **who)
            transport.abort()
            return
        transport.set_protocol(served)
        served.connection_made(transport)


async def _readable(listening: socket.socket) -> None:
    """Return when somebody is to be accepted."""
    loop = asyncio.get_running_loop()
    there = loop.create_future()

    def found() -> None:
        if not there.done():
            there.set_result(None)

    loop.add_reader(listening.fileno(), found)
    try:
        await there
    finally:
        loop.remove_reader(listening.fileno())


def _hang_up(accepted: socket.socket, transport: asyncio.Transport) -> None:
    """Close: the client knows now; what else there is to do, many times as much, comes after."""
    with contextlib.suppress(OSError):  # it is closed already
        accepted.shutdown(socket.SHUT_WR)
    transport.abort()


def _fingerprint(tls: ssl.SSLObject) -> str:
    """The leaf's thumbprint, for the record of a certificate that is no SVID."""
    digest = hashlib.sha256(verified_chain(tls)[0]).digest()
    return f"x5t#S256:{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _named(connection: Connection) -> dict[str, Any]:
    """The peer, for the record."""
    if connection.peer is None:
        return {}
    return {"credential": f"svid:{connection.peer.serial}", "principal": str(connection.peer.id)}
