"""A fleet under a bounded load for as long as wanted, in which processes are killed at random.

It goes in slices of a minute, each with one fault; a slice that was kept in a file is not run
again, so an hour can be ended and gone on with. What has to hold is looked at from outside: what
clients were answered, what the model behind the gates was asked, and what the logs say.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

import msgspec

from portcullis import __version__
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bench import cpu, gate
from portcullis.bench.cells import keep, kept
from portcullis.bench.fleet import LONG, driven, growth
from portcullis.bench.fleet_load import Outcome, Plan
from portcullis.bench.fleet_stage import Stage, Subject, minted, staged
from portcullis.bench.fleet_stub import COUNTED
from portcullis.bench.report import Report, machine, report, target
from portcullis.config import load
from portcullis.config.places import gateway_logs
from portcullis.core.errors import Problem
from portcullis.core.event import EventType

GATEWAYS: Final = 3
CONNECTIONS: Final = 12
FAULTS: Final = ("gate-2", "gate-3", "control", "none")
"""Who is killed. The first gateway lives as long as the deployment: its memory is looked at."""
PATIENCE: Final = 60.0
"""Seconds within which all serve again after what was killed has been started."""
_DOWN: Final = 3.0
_FIRST: Final = "gate-1"
_OK: Final = 200
_REFUSED: Final = "503"
_BROKEN_OFF: Final = "0"
_NOBODY: Final = "-1"
"""What clients may be told, as it stands in an outcome's errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``seconds`` in all, in slices of ``slice_seconds``; ``seed`` decides who is killed."""

    seconds: float = 3600.0
    slice_seconds: float = 60.0
    seed: int = 1
    cells: Path | None = None
    folder: Path | None = None
    command: str = ""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A slice, as a line of the file. ``run`` is the deployment that it was part of.

    ``asked`` is how many calls the model got, ``recorded`` how many of those the logs allowed;
    ``broken`` are the rules that did not hold.
    """

    number: int
    run: str
    seed: int
    seconds: float
    fault: str
    calls: int
    errors: dict[str, int]
    back_s: float
    rss_mb: float
    asked: int
    recorded: int
    broken: tuple[str, ...]
    command: str
    version: str
    at: str


def measure_soak(
    settings: Settings,
    say: Callable[[str], object] = lambda _: None,
    warn: Callable[[str], object] = lambda _: None,
) -> Report:
    """Run the slices that are not in the file yet, and report on all.

    ``warn`` is told of each rule that was broken. Raises Problem PC7007 when a process does not
    start.
    """
    at = machine()
    slices = [one for one in kept(settings.cells, Slice) if _is_of(one, settings)]
    count = max(1, round(settings.seconds / settings.slice_seconds))
    if len(slices) < count:
        for one in _run(settings, range(len(slices), count), say):
            slices.append(one)
            keep(settings.cells, one)
    found = figures(slices[:count])
    for one in slices[:count]:
        for rule in one.broken:
            warn(f"slice {one.number + 1} ({one.fault}): {rule}")
    targets = {
        "violations": target(found, "violations", "<=", 0.0),
        "back_s": target(found, "back_s", "<=", PATIENCE),
    }
    if "growth_percent" in found:
        targets["growth_percent"] = target(found, "growth_percent", "<=", 1.0)
    return report("bench soak", at, found, targets)


def figures(slices: Sequence[Slice]) -> dict[str, float]:
    """What all slices came to; memory's growth is that of the longest deployment."""
    found = {
        "slices": float(len(slices)),
        "seconds": sum(one.seconds for one in slices),
        "calls": float(sum(one.calls for one in slices)),
        "violations": float(sum(len(one.broken) for one in slices)),
        "back_s": max((one.back_s for one in slices), default=0.0),
    }
    for fault in FAULTS:
        found[f"fault_{fault}"] = float(sum(one.fault == fault for one in slices))
    for status in sorted({status for one in slices for status in one.errors}):
        found[f"answers_{status}"] = float(sum(one.errors.get(status, 0) for one in slices))
    runs: dict[str, list[tuple[float, float]]] = {}
    for one in slices:
        points = runs.setdefault(one.run, [])
        points.append(((points[-1][0] if points else 0.0) + one.seconds, one.rss_mb))
    longest = max(runs.values(), key=lambda points: points[-1][0], default=[])
    if longest and longest[-1][0] >= LONG:
        found["growth_percent"] = growth(longest)
    return found


def _is_of(one: Slice, settings: Settings) -> bool:
    """Whether it is a slice of the soak that is asked for."""
    return (one.version, one.seed, one.seconds) == (
        __version__,
        settings.seed,
        settings.slice_seconds,
    )


def _run(settings: Settings, numbers: range, say: Callable[[str], object]) -> Iterator[Slice]:
    with (
        tempfile.TemporaryDirectory(prefix="portcullis-soak-", dir=settings.folder) as name,
        staged(Path(name), gateways=GATEWAYS, bare=False) as stage,
    ):
        books = _Books(stage)
        asked = recorded = 0
        run = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for number in numbers:
            chance = random.Random(settings.seed * 1_000_000 + number)  # noqa: S311 - a schedule
            fault = chance.choice(FAULTS)
            say(f"slice {number + 1} of {numbers.stop}: {fault}")
            outcome, back = _slice(stage, settings.slice_seconds, number + 1, fault)
            before, (asked, recorded) = (asked, recorded), books.balance()
            mine = asked - before[0], recorded - before[1]
            yield Slice(
                number=number,
                run=run,
                seed=settings.seed,
                seconds=settings.slice_seconds,
                fault=fault,
                calls=outcome.calls,
                errors=outcome.errors,
                back_s=round(back, 3),
                rss_mb=round(cpu.resident_mb(stage.children[_FIRST].pid), 3),
                asked=asked,
                recorded=recorded,
                broken=tuple(_broken(stage, fault, outcome, back, mine)),
                command=settings.command,
                version=__version__,
                at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            )


def _slice(stage: Stage, seconds: float, number: int, fault: str) -> tuple[Outcome, float]:
    """Drive the load, and in the middle kill; what was answered, and when all served again."""
    subject = _fresh(stage)
    plan = Plan(
        ports=subject.ports,
        kinds=tuple(subject.kinds.values()),
        connections=CONNECTIONS,
        seconds=seconds,
        sessions={"gate": (stage.children[_FIRST].pid,)},
        seed=number,
        tolerant=True,
    )
    found: list[Outcome] = []
    driver = threading.Thread(target=lambda: found.append(driven(plan, "soak")), daemon=True)
    driver.start()
    time.sleep(seconds / 4)
    back = 0.0
    if fault != "none":
        child = stage.children[fault]
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        time.sleep(min(_DOWN, seconds / 4))
        began = time.monotonic()
        stage.restart(fault)
        back = _until_all_serve(subject, began)
    driver.join(timeout=seconds + 2 * PATIENCE)
    if not found:
        raise Problem("PC7007", "soak: the load could not be driven")
    return found[0], back


def _fresh(stage: Stage) -> Subject:
    """The gateways, with tokens that are good for this slice."""
    subject = stage.subject("gate")
    tokens = asyncio.run(minted(stage.config, stage.control))
    kinds = {
        name: msgspec.structs.replace(kind, tokens=tokens) for name, kind in subject.kinds.items()
    }
    return Subject(subject.name, subject.ports, kinds, subject.sessions)


def _until_all_serve(subject: Subject, began: float) -> float:
    """Seconds since then until every gateway answers a call; beyond PATIENCE it is given up."""
    for port in subject.ports:
        while not _serves(port, subject) and time.monotonic() - began < PATIENCE:
            time.sleep(0.1)
    return time.monotonic() - began


def _serves(port: int, subject: Subject) -> bool:
    kind = subject.kinds["json"]
    headers = {"Authorization": f"Bearer {kind.tokens[0]}", "Content-Type": "application/json"}
    link = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        link.request("POST", kind.path, kind.body, headers)
        return link.getresponse().status == _OK
    except (OSError, HTTPException):
        return False
    finally:
        link.close()


def _expected(status: str, fault: str) -> bool:
    """Whether clients may be told so.

    Streams break off where somebody was killed: without control plane they end with the lease.
    """
    killed = {_BROKEN_OFF: fault != "none", _NOBODY: fault.startswith("gate-")}
    return killed.get(status, status == _REFUSED)


def _broken(
    stage: Stage, fault: str, outcome: Outcome, back: float, books: tuple[int, int]
) -> Iterator[str]:
    """The rules that did not hold in a slice, of whose calls the books say something."""
    wrong = {status: n for status, n in outcome.errors.items() if not _expected(status, fault)}
    if wrong:
        yield f"calls were answered wrongly, by status: {wrong}, of {outcome.codes}"
    if not outcome.calls:
        yield "nothing was served"
    if back >= PATIENCE:
        yield "not all serve again"
    if books[0] > books[1]:
        yield f"the model was asked {books[0]} times, and {books[1]} are on record"
    if stage.children[_FIRST].poll() is not None:
        yield "a gateway that nobody killed has ended"
    command = gate.program("audit", "verify", "-c", str(stage.config))
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)  # noqa: S603
    if done.returncode:
        yield "a log does not verify"


class _Books:
    """What the model was asked, beside what the gateways' logs allowed, since the beginning."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._next: dict[str, int] = {}
        self._allowed = 0

    def balance(self) -> tuple[int, int]:
        """Calls that the model got, and those that the logs say may go to it."""
        asked = self._asked()  # first: what it was asked is on record by then
        for name, folder in gateway_logs(load(self._stage.config)).items():
            for record in records(folder, own_verifier(folder), self._next.get(name, 0)):
                self._next[name] = record.index + 1
                event = record.event
                went = event.type is EventType.LLM_CALL and event.verdict not in {"deny", "hold"}
                self._allowed += went
        return asked, self._allowed

    def _asked(self) -> int:
        link = HTTPConnection("127.0.0.1", self._stage.upstream, timeout=30)
        try:
            link.request("GET", COUNTED)
            return int(link.getresponse().read())
        finally:
            link.close()
