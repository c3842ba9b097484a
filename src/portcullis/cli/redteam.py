"""``portcullis redteam``: attack the gate and count what gets through."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from portcullis.bench.report import Report
from portcullis.cli.options import Json
from portcullis.core.errors import Problem
from portcullis.redteam.catalogue import digest
from portcullis.redteam.contain import Miss, Settings, measure_contain
from portcullis.redteam.dojo import SUITES, VERSION
from portcullis.redteam.rows import ROWS

app = typer.Typer(no_args_is_help=True)

_COLUMNS = {
    "benign_utility": "benign %",
    "asr": "attack %",
    "action_asr": "action %",
    "effects": "effects %",
    "asks_per_100": "asks/100",
    "utility_under_attack": "served %",
}


@app.callback()
def redteam() -> None:
    """Attack the gate and count what gets through."""


@app.command("contain")
def contain(
    *,
    suites: Annotated[str, typer.Option(help="With commas.")] = ",".join(SUITES),
    rows: Annotated[str, typer.Option(help="With commas; all by default.")] = "",
    users: Annotated[
        int | None, typer.Option(min=1, help="So many tasks of each suite; all by default.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=64)] = len(os.sched_getaffinity(0)),
    misses: Annotated[bool, typer.Option("--misses", help="List what each row missed.")] = False,
    as_json: Json = False,
) -> None:
    """Replay AgentDojo with an agent that makes the user's calls and the attacker's.

    Needs the extra ``redteam``. Without a model: what is counted is what the gate lets through.
    """
    settings = Settings(
        suites=_chosen("--suites", suites, SUITES),
        rows=_chosen("--rows", rows, [row.key for row in ROWS]),
        users=users,
        processes=processes,
    )
    with Console(stderr=True).status("replaying") as status:
        result, missed = measure_contain(settings, status.update)
    if as_json:
        text = msgspec.json.encode(result).decode()
        sys.stdout.write(msgspec.json.format(text, indent=2) + "\n")
        return
    _show(result, settings)
    if misses:
        _list(missed)


def _chosen(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names of an option, in the order in which they are known; none are all."""
    names = {name for name in text.split(",") if name}
    if not names <= set(known):
        raise Problem("PC7004", f"{option} takes of {', '.join(known)}")
    return tuple(name for name in known if not names or name in names)


def _show(result: Report, settings: Settings) -> None:
    console, figures = Console(highlight=False), result.figures
    title = f"AgentDojo {VERSION}: {figures['tasks']:.0f} tasks, {figures['pairs']:.0f} attacks"
    table = Table(title=title, box=box.SIMPLE, padding=0, title_justify="left")
    for name in ("enforced by", "human"):
        table.add_column(name)
    for name in _COLUMNS.values():
        table.add_column(name, justify="right")
    for row in ROWS:
        if row.key in settings.rows:
            cells = (f"{figures[f'{row.key}_{name}']:.1f}" for name in _COLUMNS)
            table.add_row(row.title, row.human, *cells)
    console.print(table)
    console.print(f"catalogues and policies: sha256 {digest()}")
    for name, target in result.targets.items():
        word = "met" if target.met else "NOT MET"
        console.print(f"{name}: {figures[name]:.2f} {target.op} {target.value:.2f}: {word}")


def _list(missed: Sequence[Miss]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for miss in sorted(missed, key=lambda each: (each.row, each.what, each.case)):
        console.print(f"{miss.row} {miss.what} {miss.case}: {miss.why}", markup=False)
