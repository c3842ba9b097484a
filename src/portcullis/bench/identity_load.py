"""The connections that are cut: many on mutual TLS, some of them with a stream, in one epoll.

Run as ``python -m portcullis.bench.identity_load``: for each Plan (a line of JSON on standard
input) it opens the connections, prints ``ready``, watches how they end, and prints an Outcome.
Times are of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import gc
import select
import socket
import ssl
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import httptools
import msgspec

from portcullis.bench.connection import OK
from portcullis.bench.subjects import JSON, SSE
from portcullis.wire.certificates import der, load_identity

CUT: Final = b"PC4001"
PATH: Final = "/openai/v1/chat/completions"

_THREADS: Final = 8
_TIMEOUT: Final = 15.0
_EDGES: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_ENDED: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_T = TypeVar("_T", bound="Connection")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's SVID: the chain, the key and the authorities of the trust domain, all PEM."""

    chain: str
    key: str
    bundle: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to open: ``connections`` without and ``streams`` with a stream, of two agents.

    ``agent`` is the one that will be cut off, ``neighbour`` the one that must not notice. What
    has not ended ``seconds`` after ``ready`` is given up on.
    """

    port: int
    agent: Identity
    neighbour: Identity
    connections: int
    streams: int
    kept_connections: int
    kept_streams: int
    seconds: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """When, by CLOCK_MONOTONIC in seconds, what belongs to the agent ended; what did not is absent.

    ``connections`` are those without a stream. ``streams`` is when the last byte of each answer
    was there, or its connection closed; ``told`` of them ended with the code of the cut.
    ``sockets`` is when the connections of streams were closed. ``refused``: the agent could not
    come back. ``unharmed``: each connection and each stream of the neighbour goes on.
    """

    connections: tuple[float, ...]
    streams: tuple[float, ...]
    sockets: tuple[float, ...]
    told: int
    refused: bool
    unharmed: bool


class Connection:
    """A connection that has had a request answered, and what became of it."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
        self.sock = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.closed: float | None = None
        self.begin()

    def begin(self) -> None:
        """Make a request and read its answer. Raises OSError when it is not answered with 200."""
        self.ask(JSON.body)
        self._until_complete()

    def ask(self, body: bytes) -> None:
        """Send a request."""
        self._parser = httptools.HttpResponseParser(self)
        self.complete = False
        self.sock.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def on_message_complete(self) -> None:
        """The answer is complete (httptools' callback)."""
        self.complete = True

    def again(self) -> bool:
        """Whether another request is answered."""
        self.sock.settimeout(_TIMEOUT)
        try:
            self.begin()
        except OSError:
            return False
        return True

    def take(self) -> None:
        """Nothing is awaited here; what comes is looked at when it is all over."""

    def _until_complete(self) -> None:
        while not self.complete:
            data = self.sock.recv(65_536)
            if not data:
                raise ConnectionResetError
            self._parser.feed_data(data)
        if self._parser.get_status_code() != OK:
            raise ConnectionRefusedError(self._parser.get_status_code())


class Stream(Connection):
    """A connection with an answer that goes on. ``pieces`` counts what came of it."""

    def begin(self) -> None:
        """Ask for a stream and wait for its first piece."""
        self.pieces = 0
        self.told = False
        self.ended: float | None = None
        self.ask(SSE.body)
        while not self.pieces:
            data = self.sock.recv(65_536)
            if not data:
                raise ConnectionResetError
            self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """A piece of the answer (httptools' callback)."""
        self.pieces += 1
        self.told = self.told or CUT in body

    def take(self) -> None:
        """Read what is there; note when that was the last of the answer."""
        try:
            while self.ended is None:
                data = self.sock.recv(65_536)
                if not data:
                    return
                self._parser.feed_data(data)
                if self.complete:
                    self.ended = time.monotonic()
        except OSError:
            return  # nothing more for now (SSLWantReadError), or ever: ``closed`` says which


def main() -> None:
    """Serve the plans of standard input."""
    gc.disable()
    for line in sys.stdin.buffer:
        outcome = run(msgspec.json.decode(line, type=Plan))
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


def run(plan: Plan) -> Outcome:
    """Open everything, say so, and watch until what is the agent's has ended or time is up."""
    agent, neighbour = _context(plan.agent), _context(plan.neighbour)
    idle = _opened(Connection, plan.connections, plan.port, agent)
    streams = _opened(Stream, plan.streams, plan.port, agent)
    kept = _opened(Connection, plan.kept_connections, plan.port, neighbour)
    going = _opened(Stream, plan.kept_streams, plan.port, neighbour)
    everything: dict[int, Connection] = {}
    with select.epoll() as epoll:
        for each in (*idle, *streams, *kept, *going):
            each.sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
            everything[each.sock.fileno()] = each
            epoll.register(each.sock, _EDGES)
            each.take()
        sys.stdout.buffer.write(b"ready\n")
        sys.stdout.buffer.flush()
        _watch(epoll, everything, {*idle, *streams}, time.monotonic() + plan.seconds)
    outcome = Outcome(
        connections=_times(each.closed for each in idle),
        streams=_times(each.ended or each.closed for each in streams),
        sockets=_times(each.closed for each in streams),
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
        for fd, _ in ready:
            everything[fd].take()


def _unharmed(kept: list[Connection], going: list[Stream]) -> bool:
    """Whether each connection serves another request and each stream brings another piece."""
    if not all(each.closed is None and each.again() for each in kept):
        return False
    for stream in going:
        before = stream.pieces
        stream.sock.settimeout(_TIMEOUT)
        try:
            while stream.pieces == before and not stream.complete:
                stream._parser.feed_data(stream.sock.recv(65_536))
        except (OSError, httptools.HttpParserError):
            return False
        if stream.complete or stream.told:
            return False
    return True


def _refused(port: int, context: ssl.SSLContext) -> bool:
    """Whether a new connection is of no use."""
    try:
        Connection(port, context).sock.close()
    except OSError:
        return True
    return False


def _opened(kind: type[_T], count: int, port: int, context: ssl.SSLContext) -> list[_T]:
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(lambda _: kind(port, context), range(count)))


def _times(found: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(each for each in found if each is not None)


def _context(identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=identity.bundle)
    load_identity(context, der(identity.chain), identity.key.encode())
    return context


if __name__ == "__main__":
    main()
