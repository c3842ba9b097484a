"""A fleet under load: what a call costs, beside a bare proxy and gateways of others.

A cell is a number of gateways and of connections. In it all subjects take turns, kind of call by
kind of call, so that whatever else the machine does is shared; ratios are medians of neighbours in
time. Peers are in the first cell only: they get no more than 50 connections in any. What memory
does takes longer to see, and is looked at in the first and the last, of the gateways alone. Cells
are kept in a file, each with the command that made it, and one that is there is not measured again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from portcullis import __version__
from portcullis.bench.cells import keep, kept
from portcullis.bench.fleet_load import Outcome, Plan
from portcullis.bench.fleet_peers import Peer
from portcullis.bench.fleet_stage import Stage, Subject, staged
from portcullis.bench.report import Machine, Report, Target, machine, report, target
from portcullis.core.errors import Problem

KINDS: Final = ("json", "sse", "tools", "mix")
PEER_CONNECTIONS: Final = 50
"""Peers that answer a few calls a second get no more: it costs them less, and takes minutes."""
LONG: Final = 300.0
"""Seconds of load from which on it is said how memory grows."""
GROWTH: Final = ("growth",)
"""In place of kinds: a cell in which memory is looked at."""
_SLICE: Final = 30.0
"""Seconds of load after which it is looked at again."""
MOST: Final[Mapping[str, float]] = {"json_ratio": 3.5, "sse_ratio": 2.5, "growth_percent": 1.0}
"""The promises: a call costs at most so many times what it costs the bare proxy; in ten minutes
memory grows by less than so much."""
LEAST: Final[Mapping[str, float]] = {
    "json_over_litellm": 20.0,
    "sse_over_litellm": 20.0,
    "tools_over_contextforge": 50.0,
}
"""The promises: at least so many times as many calls for a second of processor time."""
FLAT: Final = 1.15
"""The promise: a call costs in a fleet of any size at most so many times what it costs in one."""
_GATE: Final = "gate"
_OWN: Final = frozenset({"bare", _GATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``seconds`` of load in a cell, beside the peers' turns; in ``rounds`` all take turns.

    ``growth`` is how many seconds of load there are to see what memory does, 0 for none.
    ``command`` is what was typed, for the file of cells.
    """

    gateways: tuple[int, ...] = (1, 2, 4)
    connections: tuple[int, ...] = (50, 200, 1000)
    kinds: tuple[str, ...] = KINDS
    seconds: float = 60.0
    rounds: int = 5
    peers: tuple[Peer, ...] = ()
    growth: float = 0.0
    cells: Path | None = None
    folder: Path | None = None
    command: str = ""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A measured cell, as a line of the file; ``without`` says of peers why they are not in it."""

    gateways: int
    connections: int
    kinds: tuple[str, ...]
    peers: tuple[str, ...]
    without: dict[str, str] = {}
    seconds: float
    rounds: int = 0
    command: str
    version: str
    machine: Machine
    at: str
    figures: dict[str, float]


Runs = dict[tuple[str, str], list[Outcome]]
"""Outcomes by subject and kind, one for each round."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A cell that is asked for."""

    gateways: int
    connections: int
    kinds: tuple[str, ...]
    peers: tuple[Peer, ...]
    seconds: float

    def is_met(self, cell: Cell) -> bool:
        """Whether a cell of the file is as good as this one would be."""
        return (
            cell.version == __version__
            and (cell.gateways, cell.connections) == (self.gateways, self.connections)
            and cell.kinds == self.kinds
            and {peer.name for peer in self.peers} <= set(cell.peers)
            and cell.seconds >= self.seconds
        )


Say = Callable[[str], object]


def measure_fleet(
    settings: Settings, say: Say = lambda _: None, warn: Say = lambda _: None
) -> Report:
    """Measure the cells that are not in the file yet, and report on all that are asked for.

    A peer that fails is left out, and ``warn`` is told. Raises Problem PC7007 when a process of
    ours does not answer, or a call is not answered rightly; PC7004 for a file that is none of
    cells.
    """
    at = machine()
    known = kept(settings.cells, Cell)
    found: dict[str, float] = {}
    for wanted in _all_wanted(settings):
        place = f"g{wanted.gateways}_c{wanted.connections}"
        cell = next((one for one in reversed(known) if wanted.is_met(one)), None)
        if cell is None:
            say(place)
            measured = _grown if wanted.kinds == GROWTH else _cell
            cell = measured(settings, wanted, say)
            keep(settings.cells, cell)
        for name, why in cell.without.items():
            warn(f"{name} is not in {place}: {why}")
        found |= {f"{place}_{name}": figure for name, figure in cell.figures.items()}
    found |= flatness(found, settings)
    return report("bench fleet", at, found, targets(found))


def _all_wanted(settings: Settings) -> Iterator[_Wanted]:
    places = [(one, many) for one in settings.gateways for many in settings.connections]
    for at, place in enumerate(places):
        peers = () if at else settings.peers
        yield _Wanted(*place, settings.kinds, peers, settings.seconds)
    if settings.growth:
        for place in dict.fromkeys((places[0], places[-1])):
            yield _Wanted(*place, GROWTH, (), settings.growth)


def targets(found: Mapping[str, float]) -> dict[str, Target]:
    """The promises about what was measured."""
    made = {}
    for name in found:
        what = name.partition("_")[2].partition("_")[2]
        if what in MOST:
            made[name] = target(dict(found), name, "<=", MOST[what])
        elif what in LEAST:
            made[name] = target(dict(found), name, ">=", LEAST[what])
        elif name.endswith("_over_one"):
            made[name] = target(dict(found), name, "<=", FLAT)
    return made


def flatness(found: Mapping[str, float], settings: Settings) -> dict[str, float]:
    """What a call costs in a fleet, over what it costs in one gateway, by connections.

    It is the cost over the bare proxy's of the same cell that is compared.
    """
    made = {}
    for connections in settings.connections:
        for kind in settings.kinds:
            one = found.get(f"g1_c{connections}_{kind}_ratio")
            for gateways in settings.gateways:
                several = found.get(f"g{gateways}_c{connections}_{kind}_ratio")
                if gateways > 1 and one and several:
                    made[f"g{gateways}_c{connections}_{kind}_over_one"] = several / one
    return made


def _cell(settings: Settings, wanted: _Wanted, say: Say) -> Cell:
    at = machine()
    with (
        tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=settings.folder) as name,
        staged(Path(name), gateways=wanted.gateways, peers=wanted.peers) as stage,
    ):
        without = dict(stage.without)
        runs, memory = _rounds(settings, stage, wanted.connections, without, say)
    return _kept_as(settings, wanted, at, figures(runs, memory), without)


def _kept_as(
    settings: Settings,
    wanted: _Wanted,
    at: Machine,
    found: Mapping[str, float],
    without: Mapping[str, str],
) -> Cell:
    peers = (peer.name for peer in wanted.peers)
    more = {} if wanted.kinds == GROWTH else {"seconds": wanted.seconds, "load": at.load}
    return Cell(
        gateways=wanted.gateways,
        connections=wanted.connections,
        kinds=wanted.kinds,
        peers=tuple(name for name in peers if name not in without),
        without=dict(without),
        seconds=wanted.seconds,
        rounds=settings.rounds,
        command=settings.command,
        version=__version__,
        machine=at,
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        figures={name: round(figure, 3) for name, figure in {**found, **more}.items()},
    )


def _grown(settings: Settings, wanted: _Wanted, say: Say) -> Cell:
    """What memory does under the mix of calls, of the gateways alone."""
    at = machine()
    memory: list[tuple[float, float]] = []
    calls, loaded = 0, 0.0
    with (
        tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=settings.folder) as name,
        staged(Path(name), gateways=wanted.gateways, bare=False) as stage,
    ):
        gates = stage.subject(_GATE)
        while loaded < wanted.seconds:
            say(f"memory, {loaded:.0f} of {wanted.seconds:.0f} s")
            each = min(_SLICE, wanted.seconds - loaded)
            outcome = _driven(gates, "mix", wanted.connections, each, seed=len(memory))
            calls, loaded = calls + outcome.calls, loaded + each
            memory.append((loaded, outcome.rss_mb[_GATE]))
    found = {
        "growth_calls": float(calls),
        "growth_load": at.load,
        "growth_seconds": loaded,
        "growth_from_mb": memory[0][1],
        "growth_to_mb": memory[-1][1],
    }
    if loaded >= LONG:
        found["growth_percent"] = growth(memory)
    return _kept_as(settings, wanted, at, found, {})


def _rounds(
    settings: Settings, stage: Stage, connections: int, without: dict[str, str], say: Say
) -> tuple[Runs, list[tuple[float, float]]]:
    """All turns; and the memory of the gateways after so many seconds under load.

    A peer whose calls fail goes into ``without``, and has no more turns.
    """
    turns = [
        (subject, kind)
        for kind in settings.kinds
        for subject in stage.subjects
        if (subject.name in _OWN if kind == "mix" else kind in subject.kinds)
    ]
    each = settings.seconds / (settings.rounds * sum(one.name in _OWN for one, _ in turns))
    runs: Runs = defaultdict(list)
    memory: list[tuple[float, float]] = []
    loaded = 0.0
    for round_ in range(settings.rounds + 1):  # in the first, whatever is made once is made
        seconds = each if round_ else min(each, 1.0)
        for subject, kind in turns:
            if subject.name in without:
                continue
            say(f"round {round_} of {settings.rounds}: {kind}, {subject.name}")
            try:
                outcome = _driven(subject, kind, connections, seconds, seed=round_)
            except Problem as problem:
                if subject.name in _OWN:
                    raise
                without[subject.name] = problem.detail
                continue
            if round_:
                runs[subject.name, kind].append(outcome)
            if round_ and subject.name == _GATE:
                loaded += each
                memory.append((loaded, outcome.rss_mb[_GATE]))
    return {turn: found for turn, found in runs.items() if turn[0] not in without}, memory


def _driven(subject: Subject, kind: str, connections: int, seconds: float, *, seed: int) -> Outcome:
    kinds = tuple(subject.kinds.values()) if kind == "mix" else (subject.kinds[kind],)
    peer = subject.name not in _OWN
    plan = Plan(
        ports=subject.ports,
        kinds=kinds,
        connections=min(connections, PEER_CONNECTIONS) if peer else connections,
        seconds=seconds,
        sessions=dict(subject.sessions),
        seed=seed,
    )
    outcome = driven(plan, f"{subject.name}, {kind}")
    if outcome.errors:
        codes = f", by code: {outcome.codes}" if outcome.codes else ""
        detail = f"{subject.name}, {kind}: wrong answers, by status: {outcome.errors}{codes}"
        raise Problem("PC7007", detail)
    return outcome


def driven(plan: Plan, where: str) -> Outcome:
    """Drive a plan in a process of its own. Problem PC7007 that names ``where`` when it fails."""
    try:
        done = subprocess.run(
            (sys.executable, "-m", "portcullis.bench.fleet_load"),
            input=msgspec.json.encode(plan),
            capture_output=True,
            check=True,
            timeout=plan.seconds + 150,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise Problem("PC7007", f"{where}: the load could not be driven") from None
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    if not outcome.calls:
        raise Problem("PC7007", f"{where}: nothing was answered within {plan.seconds:g} seconds")
    return outcome


def figures(runs: Runs, memory: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The medians of all rounds, ``KIND_SUBJECT_WHAT``, and what they are to each other."""
    found: dict[str, float] = {}
    for (subject, kind), outcomes in runs.items():
        name = f"{kind}_{subject}"
        found[f"{name}_per_s"] = median(one.rate for one in outcomes)
        found[f"{name}_cpu_us"] = median(cost(one, subject) for one in outcomes)
        found[f"{name}_per_core_s"] = 1e6 / max(found[f"{name}_cpu_us"], 1.0)
        for what in sorted(outcomes[0].by_kind):
            place = f"{name}_{what}" if kind == "mix" else name
            found[f"{place}_p50_ms"] = median(one.p50_ms.get(what, 0.0) for one in outcomes)
            found[f"{place}_p99_ms"] = median(one.p99_ms.get(what, 0.0) for one in outcomes)
        found[f"{name}_load_us"] = median(one.load_us for one in outcomes)
        if subject == _GATE:
            control = (one.cpu_s["control"] / one.calls * 1e6 for one in outcomes)
            found[f"{kind}_control_cpu_us"] = median(control)
            continue
        gates = runs.get((_GATE, kind), [])
        pairs = [(cost(a, _GATE), cost(b, subject)) for a, b in zip(gates, outcomes, strict=True)]
        if subject == "bare":
            found[f"{kind}_ratio"] = median(gate / other for gate, other in pairs)
        else:
            found[f"{kind}_over_{subject}"] = median(other / gate for gate, other in pairs)
    found["rss_mb"] = memory[-1][1]
    if memory[-1][0] >= LONG:
        found["growth_percent"] = growth(memory)
    return found


def cost(outcome: Outcome, subject: str) -> float:
    """Microseconds of a subject's processor time for each of its calls."""
    return max(outcome.cpu_s[subject] / outcome.calls * 1e6, 1.0)


def growth(memory: Iterable[tuple[float, float]]) -> float:
    """By how many percent memory grows in ten minutes of load: its slope, by least squares.

    The first quarter is left out: by then everything that is made once has been made.
    """
    points = list(memory)
    points = points[len(points) // 4 :]
    middle = sum(at for at, _ in points) / len(points)
    level = sum(size for _, size in points) / len(points)
    spread = sum((at - middle) ** 2 for at, _ in points) or 1.0
    slope = sum((at - middle) * (size - level) for at, size in points) / spread
    return slope * 600 / level * 100
