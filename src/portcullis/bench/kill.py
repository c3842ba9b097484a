"""``bench kill``: from the command to the last byte for whoever is killed, over many gateways.

The deployment is ``portcullis up --workers N`` with its defaults. All victims are connected from
the beginning; one after the other is killed, in spells between which nobody is, while a neighbour
calls at an even pace and must not notice.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any, Final

import msgspec

from portcullis.bench import kill_load, kill_neighbour
from portcullis.bench.gate import AGENT, last_line
from portcullis.bench.identity_load import READY
from portcullis.bench.kill_stage import Stage, Via, staged, victim
from portcullis.bench.load import percentile
from portcullis.bench.report import Report, machine, report, target
from portcullis.core.errors import Problem

LAST_BYTE_MS: Final[dict[Via, float]] = {"unix": 10, "redis": 25}
"""From the command to the last byte forwarded: 99 of 100 kills."""
NEIGHBOURS_PERCENT: Final = 10
"""By how much the neighbour's p99 moves while others are killed."""

_SPELLS: Final = 4
_REST_SECONDS: Final = 0.2
"""Between two kills."""
_SETTLE_SECONDS: Final = 3.0
"""What is new to a gateway takes longer the first time."""
_FILES: Final = 1000
_GIVE_UP_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to measure. ``connections`` and ``streams`` are those of all victims together.

    A victim has its even share of each, at least one. ``rate`` is the neighbour's, in calls a
    second over ``neighbours`` connections. ``store`` refers to the address of an empty database of
    PostgreSQL that keeps the records.
    """

    gateways: int = 8
    connections: int = 1000
    streams: int = 200
    kills: int = 100
    rate: float = 80.0
    neighbours: int = 8
    via: Via = "unix"
    store: str | None = None
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: when it was sent, and what the gateways said."""

    sent: float
    answer: dict[str, Any]


def measure_kill(settings: Settings, say: Callable[[str], None]) -> Report:
    """Measure all of it. ``say`` hears of each step; Problem PC7007 when a process fails.

    Also when something of a victim's outlived it.
    """
    at = machine()
    each_stream = max(1, settings.streams // settings.kills)
    each_idle = max(1, (settings.connections - settings.streams) // settings.kills)
    files = 4 * (settings.connections + settings.kills * (each_stream + each_idle)) + _FILES
    with contextlib.ExitStack() as stack:
        place = tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=settings.folder)
        folder = Path(stack.enter_context(place))
        say(f"starting {settings.gateways} gateways")
        stage = stack.enter_context(
            staged(
                folder,
                gateways=settings.gateways,
                victims=settings.kills,
                via=settings.via,
                files=files,
                store=settings.store,
            )
        )
        say(f"opening {settings.kills * (each_idle + each_stream)} connections")
        names = [victim(number) for number in range(settings.kills)]
        (neighbour,) = stage.enrol([AGENT])
        load = stack.enter_context(_helper("kill_load", folder))
        load.begin(
            kill_load.Plan(
                port=stage.mtls,
                agents=stage.enrol(names),
                connections=each_idle,
                streams=each_stream,
                seconds=_GIVE_UP_SECONDS,
            )
        )
        calls = stack.enter_context(_helper("kill_neighbour", folder))
        calls.begin(
            kill_neighbour.Plan(
                port=stage.mtls,
                agent=neighbour,
                connections=settings.neighbours,
                rate=settings.rate,
            )
        )
        say(f"killing {settings.kills} agents")
        kills, spells = _kill(stage, names)
        calls.tell()
        called = msgspec.json.decode(calls.line(), type=kill_neighbour.Outcome)
        ended = msgspec.json.decode(load.line(), type=kill_load.Outcome)
    _whole(ended, each_idle, each_stream, called)
    found = figures(kills, ended, settings.gateways) | neighbours(called, spells)
    most = LAST_BYTE_MS[settings.via]
    targets = {
        "unacknowledged": target(found, "unacknowledged", "<=", 0),
        "last_byte_p99_ms": target(found, "last_byte_p99_ms", "<=", most),
        "neighbours_p99_change_percent": target(
            found, "neighbours_p99_change_percent", "<=", NEIGHBOURS_PERCENT
        ),
    }
    where = "" if settings.store is None else " --store"
    return report(f"bench kill --via {settings.via}{where}", at, found, targets)


def figures(kills: Sequence[Kill], ended: kill_load.Outcome, gateways: int) -> dict[str, float]:
    """Of the kills: milliseconds from the command on, and what gateways acknowledged."""
    last: list[float] = []
    closed: list[float] = []
    told: list[float] = []
    own: list[float] = []
    silent = 0
    for kill, ends in zip(kills, ended.agents, strict=True):
        last.append(max(0.0, ends.last - kill.sent) * 1000)
        closed.append(max(each - kill.sent for each in (*ends.streams, *ends.connections)) * 1000)
        said = [one for one in kill.answer["gateways"] if one["acknowledged_ms"] is not None]
        silent += gateways - len(said)
        told += [max(one["acknowledged_ms"] for one in said)] if said else []
        own += [one["own_ms"] for one in said]
    if not told:
        raise Problem("PC7007", "no gateway acknowledged anything")
    return {
        "kills": len(kills),
        "unacknowledged": silent,
        **_spread("last_byte", last),
        **_spread("closed", closed),
        **_spread("acknowledged", told),
        "gateway_own_p50_ms": median(own),
        "gateway_own_max_ms": max(own),
    }


def neighbours(
    called: kill_neighbour.Outcome, spells: Sequence[tuple[float, float]]
) -> dict[str, float]:
    """The neighbour's latency, in the spells of kills and between them."""
    during, between = [], []
    first, last = spells[0][0], spells[-1][1]
    begin_at = first - (spells[0][1] - first)  # as long as the first spell
    for due, took in zip(called.due, called.took, strict=True):
        if any(begin <= due <= end for begin, end in spells):
            during.append(took * 1000)
        elif begin_at <= due <= last:
            between.append(took * 1000)
    if not during or not between:
        raise Problem("PC7007", "the neighbour made no calls to compare")
    with_kills = percentile(sorted(during), 0.99)
    without = percentile(sorted(between), 0.99)
    return {
        "neighbours_calls": len(called.took),
        "neighbours_p50_ms": percentile(sorted(between), 0.5),
        "neighbours_p50_killing_ms": percentile(sorted(during), 0.5),
        "neighbours_p99_ms": without,
        "neighbours_p99_killing_ms": with_kills,
        "neighbours_p99_change_percent": (with_kills / without - 1) * 100,
    }


def _spread(name: str, found: Sequence[float]) -> dict[str, float]:
    ordered = sorted(found)
    return {
        f"{name}_p50_ms": percentile(ordered, 0.5),
        f"{name}_p99_ms": percentile(ordered, 0.99),
        f"{name}_max_ms": ordered[-1],
    }


def _kill(stage: Stage, names: Sequence[str]) -> tuple[list[Kill], list[tuple[float, float]]]:
    """Kill them in spells, each after a time as long in which nobody is killed."""
    kills: list[Kill] = []
    spells: list[tuple[float, float]] = []
    size = -(-len(names) // _SPELLS)
    time.sleep(_SETTLE_SECONDS)
    for start in range(0, len(names), size):
        some = names[start : start + size]
        time.sleep(len(some) * _REST_SECONDS)
        begin = time.monotonic()
        for number, name in enumerate(some):
            time.sleep(max(0.0, begin + number * _REST_SECONDS - time.monotonic()))
            kills.append(Kill(*stage.kill(name)))
        spells.append((begin, time.monotonic()))
    return kills, spells


def _whole(
    ended: kill_load.Outcome, idle: int, streams: int, called: kill_neighbour.Outcome
) -> None:
    faults = {
        "a connection outlived its agent": any(
            len(one.connections) != idle for one in ended.agents
        ),
        "a stream outlived its agent": any(len(one.streams) != streams for one in ended.agents),
        "a stream ended without a reason": any(one.told != streams for one in ended.agents),
        "a neighbour was not served": called.failed != 0,
    }
    for fault, found in faults.items():
        if found:
            raise Problem("PC7007", f"kill: {fault}")


class _Helper:
    """A process that makes connections."""

    def __init__(self, child: subprocess.Popen[bytes], output: Path) -> None:
        self._child = child
        self._output = output

    def begin(self, plan: msgspec.Struct) -> None:
        """Have everything opened."""
        self._write(msgspec.json.encode(plan) + b"\n")
        if self.line() != READY:
            raise Problem("PC7007", "the load is out of step")

    def tell(self) -> None:
        """That is enough."""
        self._write(b"\n")

    def line(self) -> bytes:
        """What it says next. Raises Problem PC7007 when it has ended."""
        line = self._pipe(self._child.stdout).readline()
        if not line:
            said = last_line(self._output.read_bytes())
            raise Problem("PC7007", f"the connections could not be made; the last line: {said}")
        return line

    def _write(self, line: bytes) -> None:
        to = self._pipe(self._child.stdin)
        with contextlib.suppress(BrokenPipeError):
            to.write(line)
            to.flush()

    def _pipe(self, found: IO[bytes] | None) -> IO[bytes]:
        if found is None:
            raise Problem("PC9002", "the load has no pipe")
        return found


@contextlib.contextmanager
def _helper(module: str, folder: Path) -> Iterator[_Helper]:
    path = folder / f"{module}.output"
    with (
        path.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own module
            (sys.executable, "-m", f"portcullis.bench.{module}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        ) as child,
    ):
        try:
            yield _Helper(child, path)
        finally:
            child.kill()
