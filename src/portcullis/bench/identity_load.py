"""The connections that are cut: many under mutual TLS, some of them with a stream, in one epoll.

Run as ``python -m portcullis.bench.identity_load``: for each Plan (a line of JSON on standard
input) it opens the connections, prints ``ready``, watches how they end, and prints an Outcome.
Times are of CLOCK_MONOTONIC, in seconds, which all processes of a machine share.
"""

from __future__ import annotations

import gc
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import httptools
import msgspec

from portcullis.bench.connection import OK
from portcullis.bench.subjects import JSON, SSE
from portcullis.client.svid import Svid
from portcullis.client.tls import context

CUT: Final = b"PC4001"
READY: Final = b"ready\n"

_PATH: Final = "/openai/v1/chat/completions"
_THREADS: Final = 32
_TIMEOUT: Final = 15.0
_EVENTS: Final = select.EPOLLIN | select.EPOLLRDHUP
_ENDED: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to open: ``connections`` without and ``streams`` with a stream, of two agents.

    ``agent`` is the one that will be cut off; on ``askers`` further connections it makes one
    request after the other. ``neighbour`` is the one that must not notice. What has not ended
    ``seconds`` after ``ready`` is given up on.
    """

    port: int
    agent: Svid
    neighbour: Svid
    connections: int
    streams: int
    askers: int
    kept_connections: int
    kept_streams: int
    seconds: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """When what belongs to the agent ended; what did not end in time is absent.

    ``connections`` are those without a stream. ``streams`` is when the last byte of each answer
    was there, or its connection closed; ``told`` of them ended with the code of the cut.
    ``content`` is when the last piece came that was not that. ``served`` is when the last of the
    askers' requests was answered with 200. ``refused``: the agent could not come back.
    ``unharmed``: each connection and each stream of the neighbour goes on.
    """

    connections: tuple[float, ...]
    streams: tuple[float, ...]
    content: float
    served: float
    told: int
    refused: bool
    unharmed: bool


class Connection:
    """A connection that has had a request answered. ``closed`` is when the peer ended it."""

    body = JSON.body
    edges = select.EPOLLET
    """What is reported once is enough; a stream is reported as long as something is there."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
        self.sock = tls.wrap_socket(plain, server_hostname="127.0.0.1")
        self.closed: float | None = None
        self.again()

    def again(self) -> None:
        """Make a request and wait for what shows that it is served. Raises OSError otherwise."""
        self.ask()
        while not self.served():
            self.read()
        if self.status() != OK:
            raise ConnectionRefusedError(self.status())

    def ask(self) -> None:
        """Send a request."""
        self._parser = httptools.HttpResponseParser(self)
        self.complete = False
        head = (
            f"POST {_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        self.sock.sendall(head.encode("ascii") + self.body)

    def read(self) -> None:
        """Read once. Raises OSError: nothing there (SSLWantReadError), or nothing ever."""
        data = self.sock.recv(65_536)
        if not data:
            raise ConnectionResetError
        self._parser.feed_data(data)

    def served(self) -> bool:
        """Whether the answer is there."""
        return self.complete

    def status(self) -> int:
        """The answer's HTTP status."""
        found: int = self._parser.get_status_code()
        return found

    def on_message_complete(self) -> None:
        """The answer is complete (httptools' callback)."""
        self.complete = True

    def take(self) -> None:
        """Something arrived. Here nothing is awaited but the end, which epoll reports."""


class Stream(Connection):
    """A connection with an answer that goes on until ``ended``."""

    body = SSE.body
    edges = 0

    def ask(self) -> None:
        """Ask for a stream."""
        self.pieces = 0
        self.told = False
        self.content = self.last_byte = 0.0
        self.ended: float | None = None
        super().ask()

    def served(self) -> bool:
        """Whether the first piece is there."""
        return self.pieces > 0

    def on_body(self, body: bytes) -> None:
        """A piece of the answer (httptools' callback)."""
        self.pieces += 1
        self.last_byte = time.monotonic()
        if CUT in body:
            self.told = True
        else:
            self.content = self.last_byte

    def take(self) -> None:
        """Read what is there; note when that was the last of the answer."""
        try:
            while self.ended is None:
                self.read()
                if self.complete:
                    self.ended = time.monotonic()
                elif not self.sock.pending():
                    return
        except (OSError, httptools.HttpParserError):
            return


class Asker(Connection):
    """A connection that asks again as soon as it is answered, until it is refused."""

    last = 0.0

    def take(self) -> None:
        """Read what is there, and ask again if that was a good answer."""
        try:
            while True:
                self.read()
                if self.complete:
                    if self.status() != OK:
                        return
                    self.last = time.monotonic()
                    self.ask()
        except (OSError, httptools.HttpParserError):
            return


_T = TypeVar("_T", bound=Connection)


def run(plan: Plan, ready: Callable[[], object]) -> Outcome:
    """Open everything, say so, and watch until what is the agent's has ended or time is up."""
    agent, neighbour = tls_of(plan.agent), tls_of(plan.neighbour)
    idle = opened(Connection, plan.connections, plan.port, agent)
    streams = opened(Stream, plan.streams, plan.port, agent)
    askers = opened(Asker, plan.askers, plan.port, agent)
    kept = opened(Connection, plan.kept_connections, plan.port, neighbour)
    going = opened(Stream, plan.kept_streams, plan.port, neighbour)
    everything = {each.sock.fileno(): each for each in (*idle, *streams, *askers, *kept, *going)}
    with select.epoll() as epoll:
        for fd, each in everything.items():
            each.sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
            epoll.register(fd, _EVENTS | each.edges)
            each.take()
        for asker in askers:
            asker.ask()
        ready()
        _watch(epoll, everything, {*idle, *streams, *askers}, time.monotonic() + plan.seconds)
    outcome = Outcome(
        connections=_times(each.closed for each in idle),
        streams=_times(each.ended or each.closed for each in streams),
        content=max((each.content for each in streams), default=0.0),
        served=max((each.last for each in askers), default=0.0),
        told=sum(each.told for each in streams),
        refused=_refused(plan.port, agent),
        unharmed=_unharmed(kept, going),
    )
    for each in everything.values():
        each.sock.close()
    return outcome


def _watch(
    epoll: select.epoll, everything: dict[int, Connection], left: set[Connection], until: float
) -> None:
    """Note ends until nothing is ``left``. What one poll reports had happened when it returned."""
    while left and (wait := until - time.monotonic()) > 0:
        ready = epoll.poll(wait)
        now = time.monotonic()
        for fd, events in ready:
            connection = everything[fd]
            if events & _ENDED and connection.closed is None:
                connection.closed = now
                left.discard(connection)
                if not connection.edges:
                    epoll.unregister(fd)
        for fd, _ in ready:
            everything[fd].take()


def _unharmed(kept: Sequence[Connection], going: Sequence[Stream]) -> bool:
    """Whether each connection serves another request and each stream brings another piece."""
    try:
        for connection in (*kept, *going):
            connection.sock.settimeout(_TIMEOUT)
        for connection in kept:
            connection.again()
        for stream in going:
            before = stream.pieces
            while stream.pieces == before:
                stream.read()
            if stream.told:
                return False
    except (OSError, httptools.HttpParserError):
        return False
    return True


def _refused(port: int, tls: ssl.SSLContext) -> bool:
    """Whether a new connection is of no use."""
    try:
        Connection(port, tls).sock.close()
    except OSError:
        return True
    return False


def opened(kind: type[_T], count: int, port: int, tls: ssl.SSLContext) -> list[_T]:
    """So many of them, opened side by side."""
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(lambda _: kind(port, tls), range(count)))


def _times(found: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(each for each in found if each is not None)


def tls_of(svid: Svid) -> ssl.SSLContext:
    """What an agent connects with."""
    return context(svid.id.trust_domain, svid.roots, svid)


def main() -> None:
    """Serve the plans of standard input."""
    gc.disable()
    out = sys.stdout.buffer

    def say(line: bytes) -> None:
        out.write(line)
        out.flush()

    for line in sys.stdin.buffer:
        outcome = run(msgspec.json.decode(line, type=Plan), lambda: say(READY))
        say(msgspec.json.encode(outcome) + b"\n")


if __name__ == "__main__":
    main()
