"""The load of a fleet: many connections to several processes, each call different from the last.

Run as ``python -m portcullis.bench.fleet_load``: a Plan (JSON) on standard input, an Outcome on
standard output. A closed loop: a connection sends its next call when the last one is answered.
When the time is over nothing more is sent, and what is under way is waited for, so that processor
time and calls are of the same calls, however slow the answers are.
"""

from __future__ import annotations

import gc
import random
import re
import select
import sys
import time
from collections import Counter, defaultdict
from typing import Final

import msgspec

from portcullis.bench import cpu
from portcullis.bench.connection import OK, Connection, request_bytes
from portcullis.bench.load import percentile

NUMBER: Final = b"0000000000"
"""What stands in a body where each call has a number of its own."""
BROKEN_STATUS: Final = -1
_DRAIN_SECONDS: Final = 60.0
_CODE: Final = re.compile(rb"PC\d{4}")


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of call: where it goes, what it says, and how a complete answer ends.

    ``token`` is one of several agents' tokens, dealt out over connections.
    """

    name: str
    path: str
    body: bytes
    tail: bytes
    tokens: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()
    share: int = 1
    """How many of the mix are of this kind."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and to whom: connections are dealt out over ``ports``.

    ``sessions`` are the process sessions (see ``cpu``) by the name under which their processor
    time and memory are counted. ``tolerant``: a broken connection is an error that is counted and
    not the end (gateways are being killed).
    """

    ports: tuple[int, ...]
    kinds: tuple[Kind, ...]
    connections: int
    seconds: float
    sessions: dict[str, tuple[int, ...]]
    seed: int = 1
    tolerant: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: ``calls`` in all, ``within`` the time; latencies in ms by kind.

    ``cpu_s`` and ``rss_mb`` (at the end) are by the names of ``Plan.sessions``. ``errors`` counts
    answers that were not right by status (0 for one that broke off, -1 for no connection), and
    ``codes`` those that said why by the gate's code.
    """

    calls: int
    within: int
    seconds: float
    by_kind: dict[str, int]
    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    cpu_s: dict[str, float]
    rss_mb: dict[str, float]
    load_us: float
    errors: dict[str, int]
    codes: dict[str, int] = {}

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.within / self.seconds


class Mixed(Connection):
    """A connection on which each call may be of another kind."""

    __slots__ = ("_made", "agent", "kind", "port")

    def __init__(self, port: int, kinds: tuple[Kind, ...], agent: int) -> None:
        super().__init__(port, b"", b"")
        self.port = port
        self.agent = agent
        self._made = {kind.name: _request(port, kind, agent) for kind in kinds}
        self.kind = ""

    def ask(self, kind: Kind, number: int, due: float) -> None:
        """Send the next call. Raises OSError as ``send``."""
        self.kind = kind.name
        head, body = self._made[kind.name]
        self._request = head + body.replace(NUMBER, b"%010d" % number)
        self._tail = kind.tail
        self.send(due)


class Drive:
    """One run of a Plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)  # noqa: S311 - a schedule, not a secret
        self._deck = [kind for kind in plan.kinds for _ in range(kind.share)]
        self._epoll = select.epoll()
        self._by_fd: dict[int, Mixed] = {}
        self._lost: list[tuple[float, int, int]] = []
        self._number = plan.seed * 100_000_000
        self._latencies: dict[str, list[float]] = defaultdict(list)
        self._errors: Counter[int] = Counter()
        self._codes: Counter[str] = Counter()

    def run(self) -> Outcome:
        """Connect, send for so many seconds, wait for the rest."""
        plan = self._plan
        idle = [
            each
            for at in range(plan.connections)
            if (each := self._connected(plan.ports[at % len(plan.ports)], at)) is not None
        ]
        spent, own = _spent(plan), time.process_time()
        began = time.monotonic()
        end = began + plan.seconds
        busy = 0
        for one in idle:
            busy += self._ask(one)
        within = 0
        while (now := time.monotonic()) < end + _DRAIN_SECONDS and (busy or now < end):
            for one in self._answered(min(0.1, max(end - now, 0.001))):
                busy -= 1
                if time.monotonic() < end:
                    within += one.status == OK
                    busy += self._ask(one)
            if now < end:
                busy += self._again(now)
        after, own = _spent(plan), time.process_time() - own
        if busy:
            self._errors[0] += busy
        calls = sum(map(len, self._latencies.values()))
        ordered = {name: sorted(found) for name, found in self._latencies.items()}
        return Outcome(
            calls=calls,
            within=within,
            seconds=plan.seconds,
            by_kind={name: len(found) for name, found in ordered.items()},
            p50_ms={name: percentile(found, 0.5) * 1000 for name, found in ordered.items()},
            p99_ms={name: percentile(found, 0.99) * 1000 for name, found in ordered.items()},
            cpu_s={name: after[name] - spent[name] for name in plan.sessions},
            rss_mb={
                name: sum(map(cpu.resident_mb, _members(sessions)))
                for name, sessions in plan.sessions.items()
            },
            load_us=own / max(calls, 1) * 1e6,
            errors={str(status): count for status, count in self._errors.items()},
            codes=dict(self._codes),
        )

    def _connected(self, port: int, agent: int) -> Mixed | None:
        try:
            made = Mixed(port, self._plan.kinds, agent)
        except OSError:
            if not self._plan.tolerant:
                raise
            self._errors[BROKEN_STATUS] += 1
            self._lost.append((time.monotonic() + 0.2, port, agent))
            return None
        self._by_fd[made.sock.fileno()] = made
        self._epoll.register(made.sock.fileno(), select.EPOLLIN)
        return made

    def _again(self, now: float) -> int:
        """Try the gateways that were away once more; how many calls were sent."""
        due, self._lost = (
            [x for x in self._lost if x[0] <= now],
            [x for x in self._lost if x[0] > now],
        )
        return sum(
            self._ask(made)
            for _, port, agent in due
            if (made := self._connected(port, agent)) is not None
        )

    def _ask(self, one: Mixed) -> int:
        self._number += 1
        try:
            one.ask(self._random.choice(self._deck), self._number, time.monotonic())
        except OSError:
            if not self._plan.tolerant:
                raise
            self._drop(one)
            return 0
        return 1

    def _drop(self, one: Mixed) -> None:
        self._by_fd.pop(one.sock.fileno(), None)
        one.sock.close()
        self._errors[BROKEN_STATUS] += 1
        self._lost.append((time.monotonic() + 0.2, one.port, one.agent))

    def _answered(self, wait: float) -> list[Mixed]:
        found = []
        for fd, _ in self._epoll.poll(wait):
            one = self._by_fd.get(fd)
            if one is None:
                continue
            was_busy = one.status is None
            usable = one.receive()
            if was_busy and one.status is not None:
                self._count(one)
                found.append(one)
            if usable:
                continue
            del self._by_fd[fd]
            one.sock.close()
            try:
                one.connect()
            except OSError:
                if not self._plan.tolerant:
                    raise
                if one in found:  # it was answered, and is not asked again
                    continue
                self._lost.append((time.monotonic() + 0.2, one.port, one.agent))
                continue
            self._by_fd[one.sock.fileno()] = one
            self._epoll.register(one.sock.fileno(), select.EPOLLIN)
        return found

    def _count(self, one: Mixed) -> None:
        if one.status == OK:
            self._latencies[one.kind].append(time.monotonic() - one.due)
        else:
            self._errors[one.status or 0] += 1
            if code := _CODE.search(one.last):
                self._codes[code[0].decode()] += 1


def _request(port: int, kind: Kind, agent: int) -> tuple[bytes, bytes]:
    """The head and the body of a call, both with the number's place."""
    token = kind.tokens[agent % len(kind.tokens)]
    whole = request_bytes(port, kind.path, token, kind.body)
    head, rest = whole[: -len(kind.body)], whole[-len(kind.body) :]
    more = "".join(f"{name}: {value}\r\n" for name, value in kind.headers)
    return head[:-2] + more.encode() + b"\r\n", rest


def _members(sessions: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(pid for session in sessions for pid in cpu.members(session))


def _spent(plan: Plan) -> dict[str, float]:
    """Of those who are there now, and of the children that they have seen end."""
    return {name: cpu.seconds(_members(found)) for name, found in plan.sessions.items()}


def main() -> None:
    """Read the plan, run it, print the outcome."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    gc.disable()
    sys.stdout.buffer.write(msgspec.json.encode(Drive(plan).run()))


if __name__ == "__main__":
    main()
