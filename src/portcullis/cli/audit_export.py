"""``portcullis audit export``: deliver what a configured exporter has not delivered, or print."""

from __future__ import annotations

import asyncio
import gzip
import heapq
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portcullis import __version__
from portcullis.audit.export.formats import FormatName, format_of
from portcullis.audit.query import Record, records
from portcullis.cli.audit_lines import clean, harmless, note, print_json
from portcullis.cli.audit_place import Log, entries_of, logs_at
from portcullis.cli.audit_tail import following_on
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem
from portcullis.wire.opa_log import TYPES

if TYPE_CHECKING:
    from portcullis.audit.export.deliver import Exporter
    from portcullis.config import Config

_ATTEMPTS: Final = 4
"""So often a command tries a batch before it gives up; the gate tries without end."""
_SHAPES: Final[tuple[FormatName, ...]] = ("json", "ocsf", "cef", "opa")


def export(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="A log to print; default: those of the configuration."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Deliver for this exporter, once.")] = "",
    log: Annotated[
        str,
        typer.Option(
            help="Of which log: gate, control, a gateway's name, mcp-SERVER. Default: all."
        ),
    ] = "",
    start: Annotated[
        int | None,
        typer.Option("--from", min=0, help="From this entry on; the exporter's place stays."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="Print as json, ocsf, cef or opa (gzip).")
    ] = "",
    forever: Annotated[bool, typer.Option("-f", "--follow", help="Go on as they come.")] = False,
    key: Annotated[str | None, typer.Option("--key", help="As in tail.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Deliver what an exporter of the configuration owes, or print the log in another shape."""
    if bool(name) == bool(form):
        raise Problem("PC7004", "give either --name or --format")
    if name:
        if directory or forever or key:
            raise Problem("PC7004", "DIR, --follow and --key go with --format")
        settings = load(config)
        names = (log,) if log else _names(settings)
        if start is not None and len(names) > 1:
            raise Problem("PC7004", "--from goes with --log: there are several logs")
        for one in names:
            _deliver(settings, name, one, start, as_json=as_json)
        return
    shape = _shape(form, forever=forever)
    if log:
        directory = _place(load(config), log)
    logs = logs_at(directory, config, key)
    if start is not None and len(logs) > 1:
        raise Problem("PC7004", "--from goes with DIR or --log: there are several logs")
    places = dict.fromkeys(logs, start or 0)
    if shape == "opa":
        _print_decisions(places)
    else:
        _print(places, shape, forever=forever)


def _shape(form: str, *, forever: bool) -> FormatName:
    shape = next((one for one in _SHAPES if one == form), None)
    if shape is None:
        raise Problem("PC7004", "unknown --format", hint=f"Known: {', '.join(_SHAPES)}.")
    if shape == "opa" and forever:
        raise Problem("PC7004", "OPA's decision log is one document: --follow is for lines")
    return shape


def _print_decisions(places: dict[Log, int]) -> None:
    """The decisions in these logs, in order of time: a JSON array in gzip, lines on a terminal."""
    form = format_of("opa", __version__)
    found = heapq.merge(
        *(records(*log, start) for log, start in places.items()), key=lambda one: one.event.time
    )
    decisions = (
        form.encode(one.index, one.event, one.entry) for one in found if one.event.type in TYPES
    )
    if sys.stdout.isatty():
        for line in decisions:
            _show_json(line)
        return
    with gzip.GzipFile(fileobj=sys.stdout.buffer, mode="wb", mtime=0, filename="") as out:
        for number, line in enumerate(decisions):
            out.write((b"," if number else b"[") + line)
        out.write(b"]" if out.tell() else b"[]")
    sys.stdout.buffer.flush()


def _print(places: dict[Log, int], shape: FormatName, *, forever: bool) -> None:
    """What these logs hold from there on, in order of time."""
    form = format_of(shape, __version__)
    write = _show_cef if shape == "cef" else _show_json
    write = write if sys.stdout.isatty() else _write
    total = sum(max(0, (entries_of(*log) or 0) - start) for log, start in places.items())
    found = (_of(log, start) for log, start in places.items())
    try:
        with progress("exporting", total, quiet=sys.stdout.isatty()) as advance:
            for log, record in heapq.merge(*found, key=lambda one: one[1].event.time):
                write(form.encode(record.index, record.event, record.entry))
                places[log] = record.index + 1
                advance(1)
        if forever:
            for record in following_on(places, lambda said: note(clean(said))):
                write(form.encode(record.index, record.event, record.entry))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _of(log: Log, start: int) -> Iterator[tuple[Log, Record]]:
    return ((log, record) for record in records(*log, start))


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _show_json(line: bytes) -> None:
    print(harmless(line.decode()), flush=True)


def _show_cef(line: bytes) -> None:
    print(clean(line.decode()), flush=True)


def _place(config: Config, log: str) -> Path:
    from portcullis.config.places import audit_directory  # noqa: PLC0415 - slow

    return audit_directory(config, log)


def _names(config: Config) -> tuple[str, ...]:
    from portcullis.config.places import GATE, logs_of  # noqa: PLC0415 - slow

    return tuple(logs_of(config)) or (GATE,)


def _deliver(config: Config, name: str, log: str, start: int | None, *, as_json: bool) -> None:
    from portcullis.bootstrap import SystemClock, keys_of  # noqa: PLC0415 - slow
    from portcullis.bootstrap.exporters import exporters  # noqa: PLC0415 - the same
    from portcullis.bootstrap.secret_sources import sources_of  # noqa: PLC0415 - the same
    from portcullis.identity.sealing import Envelope  # noqa: PLC0415 - the same

    made = exporters(
        config,
        log,
        gateway=f"{config.trust_domain}/{log}",
        version=__version__,
        secrets=sources_of(config, os.environ, Envelope(keys_of(config))).registry,
        clock=SystemClock(),
        notice=_said,
        attempts=_ATTEMPTS,
    )
    if name not in made:
        known = ", ".join(made) or "none"
        raise Problem("PC7004", "no such exporter", hint=f"In audit.exporters: {known}.")
    exporter = made[name]
    with progress("delivering", quiet=as_json):
        delivered = asyncio.run(_drained(exporter, start))
    dead = exporter.state.dead
    if as_json:
        print_json({"exporter": name, "log": log, "delivered": delivered, "dead": dead})
    else:
        note(f"{delivered} events delivered, {dead} to the dead letters")


async def _drained(exporter: Exporter, start: int | None) -> int:
    try:
        return await exporter.drain(start)
    finally:
        await exporter.close()


def _said(method: str, parameters: dict[str, str]) -> None:
    if method == "audit.export.restart":
        note(f"{parameters['exporter']}: another log than before, delivered from its beginning")
