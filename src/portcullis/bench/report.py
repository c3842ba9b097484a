"""What every measuring command prints: figures, the machine, and which targets were met."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Literal

import msgspec

from portcullis import __version__


class Target(msgspec.Struct, frozen=True):
    """A promise about the figure of the same name."""

    op: Literal["<=", ">="]
    value: float
    met: bool


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. ``load`` is the load average over one minute at the beginning."""

    system: str
    processor: str
    cpus: int
    python: str
    load: float


class Report(msgspec.Struct, frozen=True):
    """The one object of ``--json``."""

    command: str
    version: str
    machine: Machine
    figures: dict[str, float]
    targets: dict[str, Target]


def machine() -> Machine:
    """This machine."""
    return Machine(
        system=platform.platform(),
        processor=_processor(),
        cpus=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )


def target(figures: dict[str, float], name: str, op: Literal["<=", ">="], value: float) -> Target:
    """Hold the figure ``name`` against ``value``."""
    figure = figures[name]
    return Target(op, round(value, 3), figure <= value if op == "<=" else figure >= value)


def report(
    command: str, at: Machine, figures: dict[str, float], targets: dict[str, Target]
) -> Report:
    """Put it together; figures are rounded to three decimals."""
    rounded = {name: round(value, 3) for name, value in figures.items()}
    return Report(command, __version__, at, rounded, targets)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
