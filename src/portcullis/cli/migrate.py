"""``portcullis migrate``: the records of a deployment into another database."""

from __future__ import annotations

import contextlib
import json as codec
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from portcullis.bootstrap import founded, own_log
from portcullis.bootstrap.by_hand import recorder
from portcullis.bootstrap.records import DATABASE, records
from portcullis.cli.operate import running_gateways
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.progress import progress
from portcullis.config import Config, load
from portcullis.core.errors import Problem
from portcullis.store.engine import open_sqlite
from portcullis.store.moving import Carried, move, occupied

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _about() -> None:
    """Move records."""


@app.command("sqlite-to-postgres")
def sqlite_to_postgres(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="The SQLite file; by default portcullis.db of the state."),
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Move all records into the database that `store.url` names, while no gate runs.

    It has to be empty. What arrived is compared with what was sent, row by row, before it counts;
    then the file is renamed, so that nobody goes on with it. Before that nothing is changed: run a
    move that was interrupted again.

    With --json: `tables`, each with `table`, `rows` and `digest`, and `kept`, the renamed file.
    """
    settings = load(config)
    if settings.store.url is None:
        hint = "Set `store: {url: env:NAME}` to the address of a database of PostgreSQL."
        raise Problem("PC7004", "the configuration names no other database", hint=hint)
    gateways = running_gateways(settings)
    if gateways:
        raise Problem("PC6003", f"gateways run: {', '.join(gateways)}", hint="Stop them first.")
    path = source or settings.state / DATABASE
    if not path.is_file():
        raise Problem("PC7005", f"there is no record store in {path}")
    moved = _moved(settings, path, quiet=json)
    kept = _set_aside(path)
    if json:
        tables = msgspec.to_builtins(moved)
        print(codec.dumps({"tables": tables, "kept": str(kept)}))
        return
    for one in moved:
        print(f"{one.rows:>10}  {one.table:<26}  sha256 {one.digest}")
    sys.stderr.write(f"All of it is in the database. Delete {kept} when you no longer need it.\n")


def _moved(settings: Config, path: Path, *, quiet: bool) -> tuple[Carried, ...]:
    """Move it all, on record before and afterwards."""
    with contextlib.ExitStack() as stack:
        target = records(settings)
        stack.callback(target.dispose)
        there = occupied(target)
        if there:
            hint = "Move into an empty database, or go on with the one that is there."
            raise Problem("PC7001", f"it holds records already, in {there[0]}", hint=hint)
        old = open_sqlite(path)
        stack.callback(old.dispose)
        services = founded(stack, settings, own_log(settings))
        record = recorder(stack, services)
        record("store.move", {"to": "postgresql"})
        with progress("moving", quiet=quiet):
            moved = move(old, target)
        rows = sum(one.rows for one in moved)
        record("store.moved", {"to": "postgresql", "rows": rows})
        return moved


def _set_aside(path: Path) -> Path:
    kept = path.with_name(f"{path.name}.moved-{int(time.time())}")
    path.rename(kept)
    for suffix in ("-wal", "-shm", ".lock"):  # of a file that was closed in order there are none
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
    return kept
