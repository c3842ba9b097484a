"""``portcullis redteam``: attack the gate and count what gets through."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from portcullis.bench.report import Report
from portcullis.cli.options import Json
from portcullis.cli.progress import status
from portcullis.core.errors import Problem
from portcullis.redteam.catalogue import digest
from portcullis.redteam.contain import Miss, Settings, measure_contain
from portcullis.redteam.dojo import SUITES, VERSION
from portcullis.redteam.rows import FATIGUE, ROWS, Row
from portcullis.redteam.service.corpus import DOMAINS, digests
from portcullis.redteam.service.measure import DESKS, ServiceSettings, measure_service

app = typer.Typer(no_args_is_help=True)

_COLUMNS = {
    "benign_utility": "benign %",
    "asr": "attack %",
    "action_asr": "action %",
    "effects": "effects %",
    "asks_per_100": "asks/100",
    "utility_under_attack": "served %",
}


_SERVICE_COLUMNS = {
    "benign_utility": "benign %",
    "asr": "attack %",
    "asks_per_100": "asks/100",
    "asked_tasks": "asked %",
}


class Corpus(StrEnum):
    """What is replayed."""

    AGENTDOJO = "agentdojo"
    SERVICE = "service"


class Through(StrEnum):
    """What a replayed call goes through."""

    CHECKS = "checks"
    LISTENER = "listener"


@app.callback()
def redteam() -> None:
    """Attack the gate and count what gets through."""


@app.command("contain")
def contain(
    *,
    corpus: Annotated[
        Corpus, typer.Option(help="AgentDojo, or two service desks, which need no extra.")
    ] = Corpus.AGENTDOJO,
    suites: Annotated[str, typer.Option(help="With commas; all by default.")] = "",
    attacks: Annotated[
        Path | None,
        typer.Option(help="Attacks on the service desks: a folder with SUITE/attacks.yaml."),
    ] = None,
    rows: Annotated[
        str, typer.Option(help="With commas; by default all but those of a tired human.")
    ] = "",
    through: Annotated[
        Through,
        typer.Option(help="The gate's checks, or a real gate: listener, log, approvals."),
    ] = Through.CHECKS,
    users: Annotated[
        int | None, typer.Option(min=1, help="So many tasks of each suite; all by default.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="So many at once; default: one for each CPU.")
    ] = len(os.sched_getaffinity(0)),
    misses: Annotated[bool, typer.Option("--misses", help="List what each row missed.")] = False,
    as_json: Json = False,
) -> None:
    """Replay a corpus with an agent that makes the user's calls and the attacker's.

    AgentDojo needs the extra ``redteam``. Without a model: what is counted is what the gate lets
    through.
    """
    if corpus is Corpus.SERVICE:
        if through is not Through.CHECKS:
            raise Problem("PC7004", "the service desks are replayed through the checks only")
        desks = ServiceSettings(
            suites=_chosen("--suites", suites, DOMAINS),
            rows=_chosen("--rows", rows, tuple(DESKS)),
            users=users,
            attacks=attacks,
        )
        with status("replaying", quiet=as_json) as say:
            result, missed = measure_service(desks, say)
        _print(result, missed if misses else (), lambda: _show_service(result, desks), as_json)
        return
    if attacks is not None:
        raise Problem("PC7004", "--attacks is for --corpus service")
    settings = Settings(
        suites=_chosen("--suites", suites, SUITES),
        rows=_rows(rows, through),
        users=users,
        processes=processes,
        listener=through is Through.LISTENER,
    )
    with status("replaying", quiet=as_json) as say:
        result, missed = measure_contain(settings, say)
    _print(result, missed if misses else (), lambda: _show(result, settings), as_json)


def _print(result: Report, missed: Sequence[Miss], show: Callable[[], None], as_json: bool) -> None:
    if as_json:
        text = msgspec.json.encode(result).decode()
        sys.stdout.write(msgspec.json.format(text, indent=2) + "\n")
        return
    show()
    _list(missed)


def _rows(text: str, through: Through) -> tuple[str, ...]:
    if through is Through.LISTENER:
        known: Sequence[Row] = [row for row in ROWS if row.grant is not None]
    else:
        known = (*ROWS, *FATIGUE) if text else ROWS
    return _chosen("--rows", text, [row.key for row in known])


def _chosen(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names of an option, in the order in which they are known; none are all."""
    names = {name for name in text.split(",") if name}
    if not names <= set(known):
        raise Problem("PC7004", f"{option} takes of {', '.join(known)}")
    return tuple(name for name in known if not names or name in names)


def _show(result: Report, settings: Settings) -> None:
    console, figures = Console(highlight=False), result.figures
    title = f"AgentDojo {VERSION}: {figures['tasks']:.0f} tasks, {figures['pairs']:.0f} attacks"
    table = _table(title, ("enforced by", "human"), _COLUMNS)
    for row in (*ROWS, *FATIGUE):
        if row.key in settings.rows:
            cells = (f"{figures[f'{row.key}_{name}']:.1f}" for name in _COLUMNS)
            table.add_row(row.title, row.human, *cells)
    console.print(table)
    console.print(f"catalogues and policies: sha256 {digest()}")
    _targets(console, result)


def _show_service(result: Report, settings: ServiceSettings) -> None:
    console, figures = Console(highlight=False), result.figures
    title = f"Service desks: {figures['tasks']:.0f} tasks, {figures['attacks']:.0f} attacks"
    table = _table(title, ("tools", "enforced by", "human"), _SERVICE_COLUMNS)
    for suite in (*settings.suites, ""):
        for row in settings.rows:
            names = (
                f"{suite}_{row}_{name}" if suite else f"{row}_{name}" for name in _SERVICE_COLUMNS
            )
            cells = (f"{figures[name]:.1f}" if name in figures else "" for name in names)
            table.add_row(suite or "all", DESKS[row].title, DESKS[row].human, *cells)
    console.print(table)
    for name, found in digests().items():
        console.print(f"{name}: sha256 {found}", soft_wrap=True)
    _targets(console, result)


def _table(title: str, names: Sequence[str], columns: Mapping[str, str]) -> Table:
    table = Table(title=title, box=box.SIMPLE, padding=0, title_justify="left")
    for name in names:
        table.add_column(name)
    for name in columns.values():
        table.add_column(name, justify="right")
    return table


def _targets(console: Console, result: Report) -> None:
    for name, target in result.targets.items():
        word = "met" if target.met else "NOT MET"
        console.print(f"{name}: {result.figures[name]:.2f} {target.op} {target.value:.2f}: {word}")


def _list(missed: Sequence[Miss]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for miss in sorted(missed, key=lambda each: (each.row, each.what, each.case)):
        console.print(f"{miss.row} {miss.what} {miss.case}: {miss.why}", markup=False)
