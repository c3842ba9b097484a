"""The tables of ``portcullis bench``, for people, and its JSON."""

from __future__ import annotations

import sys
from typing import Final

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from portcullis.bench import measure
from portcullis.bench.firewall_peers import PEERS
from portcullis.bench.firewall_read import SIZES
from portcullis.bench.firewall_texts import KINDS
from portcullis.bench.report import Report, Target

_TITLES: Final = {"json": "JSON, 1 KB answers", "sse": "SSE, 30 chunks"}


def show(result: Report, settings: measure.Settings) -> None:
    """A table for each kind of call, and the promises."""
    console = Console(highlight=False)
    at, figures = result.machine, result.figures
    console.print(f"{at.processor}, {at.cpus} CPUs, Python {at.python}, load {at.load}")
    subjects = ("direct", "bare", "gate", *(("beside",) if settings.beside else ()))
    for shape in settings.shapes:
        table = Table(title=_TITLES[shape.name], box=box.SIMPLE, padding=0, title_justify="left")
        for name in ("conns", "subject", "calls/s", "p50 ms", "p99 ms"):
            table.add_column(name, justify="left" if name == "subject" else "right")
        for name in ("added p50", "added p99", "CPU us", "x bare"):
            table.add_column(name, justify="right")
        for place in (*(f"c{count}" for count in settings.connections), "half"):
            for subject in subjects:
                name = f"{shape.name}_{place}_{subject}"
                if f"{name}_rps" in figures:
                    table.add_row(*_row(figures, name, place, subject))
            table.add_row()
        console.print(table)
        offered = figures[f"{shape.name}_half_offered_rps"]
        console.print(f"half: {offered:.0f} calls/s offered, half of what the bare proxy served\n")
    p50, p99 = (figures[f"fdatasync_{share}_ms"] for share in ("p50", "p99"))
    console.print(f"fdatasync p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    for name, target in result.targets.items():
        word = "met" if target.met else "NOT MET"
        console.print(f"{name}: {figures[name]:.2f} {target.op} {target.value:.2f}: {word}")


def _row(figures: dict[str, float], name: str, place: str, subject: str) -> tuple[str, ...]:
    def text(what: str, form: str) -> str:
        return format(figures[key], form) if (key := f"{name}_{what}") in figures else ""

    return (
        place.removeprefix("c"),
        subject,
        text("rps", ".0f"),
        text("p50_ms", ".2f"),
        text("p99_ms", ".2f"),
        text("added_p50_ms", ".2f"),
        text("added_p99_ms", ".2f"),
        text("cpu_us", ".0f"),
        text("cpu_ratio", ".2f"),
    )


def costs(figures: dict[str, float]) -> None:
    """Who takes how long for which text."""
    console = Console(highlight=False)
    table = Table(title="us per text", box=box.SIMPLE, padding=0, title_justify="left")
    table.add_column("size")
    for name in ("kind", "found", "all rules", "as its channel", *PEERS):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for size in SIZES:
        for kind in (*KINDS, "mean"):
            names = [f"{who}_{size}_{kind}_us" for who in ("read", "channel", *PEERS)]
            names = [f"found_{size}_{kind}", *names]
            costs = (format(figures[n], ",.0f") if n in figures else "" for n in names)
            table.add_row(size, kind, *costs)
        table.add_row()
    console.print(table)
    if not any(f"{peer}_1k_us" in figures for peer in PEERS):
        console.print("The peers were not measured: see make bench-peers.\n")


def parts(result: Report, *, as_json: bool, without: tuple[str, ...] = ()) -> None:
    """Print all figures; for people without those that begin so and hold no promise."""
    if as_json:
        write(result)
        return
    for name, figure in result.figures.items():
        if name.startswith(without) and name not in result.targets:
            continue
        print(f"{name:30} {figure:>12,.3f}{_kept(result.targets.get(name))}")


def _kept(target: Target | None) -> str:
    """Whether a promise was kept, beside its figure."""
    if target is None:
        return ""
    value = f"{target.value:,.1f}".removesuffix(".0")
    return f"  {target.op} {value}: {'met' if target.met else 'NOT MET'}"


def write(result: Report) -> None:
    """The report as JSON, for programs."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(result).decode(), indent=2) + "\n")
