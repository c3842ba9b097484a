"""The connections of those who are killed: many agents' under mutual TLS, in one epoll.

Run as ``python -m portcullis.bench.kill_load``: for a Plan (a line of JSON on standard input) it
opens everything, prints ``ready``, watches how it ends, and prints an Outcome. Times are of
CLOCK_MONOTONIC, in seconds, which all processes of a machine share.
"""

from __future__ import annotations

import gc
import select
import sys
import time
from typing import Final

import msgspec

from portcullis.bench.identity_load import READY, Connection, Stream, opened, tls_of
from portcullis.client.svid import Svid

_EVENTS: Final = select.EPOLLIN | select.EPOLLRDHUP
_ENDED: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to open: for each of ``agents`` so many connections without and with a stream.

    What has not ended ``seconds`` after ``ready`` is given up on.
    """

    port: int
    agents: tuple[Svid, ...]
    connections: int
    streams: int
    seconds: float


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """When what belongs to one agent ended; what did not end is absent.

    ``last`` is when the last byte came on any of its streams, be it what tells of the cut;
    ``content`` when the last piece that was none of that. ``told`` streams ended with its code.
    """

    connections: tuple[float, ...]
    streams: tuple[float, ...]
    last: float
    content: float
    told: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """For each agent, in the plan's order."""

    agents: tuple[Ends, ...]


def run(plan: Plan, ready: object) -> Outcome:
    """Open everything, say so, and watch until all has ended or time is up."""
    of_agents: list[tuple[list[Connection], list[Stream]]] = []
    for svid in plan.agents:
        tls = tls_of(svid)
        idle = opened(Connection, plan.connections, plan.port, tls)
        of_agents.append((idle, opened(Stream, plan.streams, plan.port, tls)))
    everything: dict[int, Connection] = {
        each.sock.fileno(): each for idle, streams in of_agents for each in (*idle, *streams)
    }
    with select.epoll() as epoll:
        for fd, each in everything.items():
            each.sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
            epoll.register(fd, _EVENTS | each.edges)
            each.take()
        if callable(ready):
            ready()
        _watch(epoll, everything, time.monotonic() + plan.seconds)
    return Outcome(agents=tuple(_ends(idle, streams) for idle, streams in of_agents))


def _watch(epoll: select.epoll, everything: dict[int, Connection], until: float) -> None:
    """Note ends. What one poll reports had happened when it returned."""
    left = set(everything.values())
    while left and (wait := until - time.monotonic()) > 0:
        ready = epoll.poll(wait)
        now = time.monotonic()
        for fd, events in ready:
            connection = everything[fd]
            if not events & _ENDED:
                continue
            connection.take()
            if connection.closed is None:
                connection.closed = now
                left.discard(connection)
            epoll.unregister(fd)
        for fd, events in ready:
            if not events & _ENDED:
                everything[fd].take()


def _ends(idle: list[Connection], streams: list[Stream]) -> Ends:
    ended = [each.ended or each.closed for each in streams]
    found = Ends(
        connections=tuple(each.closed for each in idle if each.closed is not None),
        streams=tuple(each for each in ended if each is not None),
        last=max((each.last_byte for each in streams), default=0.0),
        content=max((each.content for each in streams), default=0.0),
        told=sum(each.told for each in streams),
    )
    for each in (*idle, *streams):
        each.sock.close()
    return found


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
