"""A fleet under a bounded load for as long as wanted, in which processes are killed at random.

It goes in slices of a minute, each with one fault; a slice that was kept in a file is not run
again, so an hour can be ended and gone on with. What has to hold is looked at from outside: what
clients were answered, what the model behind the gates was asked, and what the logs say.
"""

from __future__ import annotations

import asyncio
import contextlib
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
_EXPECTED: Final = frozenset({"503", "0", "-1"})
"""What clients may be told while somebody is away: refused, broken off, nobody there."""


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


def measure_soak(settings: Settings, say: Callable[[str], object] = lambda _: None) -> Report:
    """Run the slices that are not in the file yet, and report on all.

    Raises Problem PC7007 when a process does not start.
    """
    at = machine()
    slices = list(_kept(settings))
    count = max(1, round(settings.seconds / settings.slice_seconds))
    if len(slices) < count:
        for one in _run(settings, range(len(slices), count), say):
            slices.append(one)
            if settings.cells is not None:
                with settings.cells.open("ab") as file:
                    file.write(msgspec.json.encode(one) + b"\n")
    found = figures(slices[:count])
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


def _kept(settings: Settings) -> Iterator[Slice]:
    if settings.cells is None or not settings.cells.exists():
        return
    try:
        for line in settings.cells.read_bytes().splitlines():
            one = msgspec.json.decode(line, type=Slice)
            if one.version == __version__ and one.seconds >= settings.slice_seconds:
                yield one
    except msgspec.DecodeError:
        raise Problem("PC7004", f"{settings.cells} is no file of slices") from None


def _run(settings: Settings, numbers: range, say: Callable[[str], object]) -> Iterator[Slice]:
    with (
        tempfile.TemporaryDirectory(prefix="portcullis-soak-", dir=settings.folder) as name,
        staged(Path(name), gateways=GATEWAYS, bare=False) as stage,
    ):
        books = _Books(stage)
        run = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for number in numbers:
            chance = random.Random(settings.seed * 1_000_000 + number)  # noqa: S311 - a schedule
            fault = chance.choice(FAULTS)
            say(f"slice {number + 1} of {numbers.stop}: {fault}")
            outcome, back = _slice(stage, settings.slice_seconds, number + 1, fault)
            asked, recorded = books.balance()
            yield Slice(
                number=number,
                run=run,
                seconds=settings.slice_seconds,
                fault=fault,
                calls=outcome.calls,
                errors=outcome.errors,
                back_s=round(back, 3),
                rss_mb=round(cpu.resident_mb(stage.children[_FIRST].pid), 3),
                asked=asked,
                recorded=recorded,
                broken=tuple(_broken(stage, outcome, back, asked, recorded)),
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
    with contextlib.suppress(OSError, HTTPException):
        link.request("POST", kind.path, kind.body, headers)
        return link.getresponse().status == _OK
    link.close()
    return False


def _broken(
    stage: Stage, outcome: Outcome, back: float, asked: int, recorded: int
) -> Iterator[str]:
    """The rules that did not hold in a slice."""
    if set(outcome.errors) - _EXPECTED:
        yield "a call was answered wrongly"
    if not outcome.calls:
        yield "nothing was served"
    if back >= PATIENCE:
        yield "not all serve again"
    if asked > recorded:
        yield "the model was asked without a record"
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
        for name, folder in gateway_logs(load(self._stage.config)).items():
            for record in records(folder, own_verifier(folder), self._next.get(name, 0)):
                self._next[name] = record.index + 1
                event = record.event
                self._allowed += event.type is EventType.LLM_CALL and event.verdict == "allow"
        link = HTTPConnection("127.0.0.1", self._stage.upstream, timeout=30)
        try:
            link.request("GET", COUNTED)
            return int(link.getresponse().read()), self._allowed
        finally:
            link.close()
