"""What ``portcullis incident`` says of the past: timeline, radius, report, and verifying one.

These read the record store and the logs themselves, beside a gate that runs or without it. What an
event holds was chosen by others: everything that is not printable is escaped.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from portcullis.audit.verify import load_verifier
from portcullis.cli.audit_lines import clean, note, print_json, second
from portcullis.cli.audit_query import catch_up
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.control.incidents_parts import History
    from portcullis.core.incident import Incident
    from portcullis.review.incident_radius import Radius, Reached

Id = Annotated[str, typer.Argument(metavar="ID", help="The incident's id.")]
_ID: Final = re.compile(r"[0-9a-zA-Z-]{1,64}")
_FAILED: Final = 5


class Forms(StrEnum):
    """What a report is made as."""

    MD = "md"
    HTML = "html"
    ZIP = "zip"


def register(app: typer.Typer) -> None:
    """Make these commands of a group."""
    for command in (timeline, radius, report, verify):
        app.command()(command)


def timeline(
    incident: Id,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind (write, denied, kill...); repeatable.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="At most so many; --cursor goes on behind them.")
    ] = 1000,
    cursor: Annotated[str, typer.Option(help="Where another timeline ended.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show what happened to and through whoever an incident is about, oldest first.

    Each line names its log and its number there, for `portcullis audit prove`.
    """
    with _opened(config, incident) as (found, history):
        left, following = limit, cursor
        while left > 0:
            page = history.timeline.read(
                found.subject, found.since, 0.0, tuple(kind or ()), following, min(left, 200)
            )
            for row in page.rows:
                if as_json:
                    print_json(row)
                else:
                    print(f"{second(row.at)}  {row.kind:10} {row.log} {row.index}  {row.text}")
            left -= len(page.rows)
            following = page.next
            if not following:
                return
        note(f"there may be more: --cursor {following}")


def radius(incident: Id, config: ConfigFile = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Show which other agents came by what it wrote, or acted for it, and what cannot be known."""
    with _opened(config, incident) as (found, history):
        drawn = history.radius.draw(found.subject, found.since, found.until)
    if as_json:
        print_json(drawn)
    else:
        for text in _radius_lines(drawn):
            print(text)


def report(
    incident: Id,
    form: Annotated[
        Forms, typer.Option("--format", help="Markdown, HTML, or an archive with proofs.")
    ] = Forms.MD,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file; default: stdout.")
    ] = None,
    notes: Annotated[
        bool, typer.Option("--notes", help="With what notes say, not only their digests.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Make the report of an incident. An archive proves offline each event that it names."""
    from portcullis.control.incidents_timeline import made  # noqa: PLC0415 - slow

    if form is Forms.ZIP and output is None:
        raise Problem("PC7004", "an archive needs --output")
    if as_json and output is None:
        raise Problem("PC7004", "--json needs --output")
    with _opened(config, incident) as (found, history):
        done = made(history, found, form.value, time.time(), notes=notes)
    if output is None:
        sys.stdout.write(done.data.decode())
        return
    try:
        with output.open("xb") as file:
            file.write(done.data)
    except FileExistsError:
        raise Problem("PC7004", f"{output} exists already", hint="Name a new file.") from None
    except OSError as error:
        raise Problem("PC7005", f"cannot write {output}: {error.strerror}") from None
    digest = hashlib.sha256(done.data).hexdigest()
    if as_json:
        print_json({"file": str(output), "sha256": digest, "key": done.key})
    else:
        print(f"{output}: sha256 {digest}")
        if done.key:
            print(f"key {done.key}")


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive.")],
    key: Annotated[
        str, typer.Option("--key", help="The public key of incidents' reports, or a file with it.")
    ],
    log_key: Annotated[
        list[str] | None,
        typer.Option("--log-key", help="A log's public key, as you got it elsewhere; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check an archive offline: signature, every file, every proof. Exit code 5 on failure."""
    from portcullis.review import incident_package  # noqa: PLC0415 - slow

    try:
        with file.open("rb") as stream:
            data = stream.read(incident_package.MAX_ARCHIVE + 1)
    except OSError as error:
        raise Problem("PC7005", f"cannot read {file}: {error.strerror}") from None
    logs = [load_verifier(one) for one in log_key or ()]
    found = incident_package.verify(
        data, load_verifier(key), {one.name.rpartition("/")[2]: one for one in logs}
    )
    if as_json:
        print_json(msgspec.structs.asdict(found))
    else:
        print(
            f"{'verified' if found.ok else 'FAILED'}: incident {clean(found.incident) or '-'}, "
            f"{found.files} files, {found.proofs} proofs, {found.unproven} events without one"
        )
        for reason in found.reasons:
            print(f"  reason  {clean(reason)}")
    if not found.ok:
        raise typer.Exit(_FAILED)


@contextlib.contextmanager
def _opened(config: Path, incident: str) -> Iterator[tuple[Incident, History]]:
    """An incident and the history, with the logs projected as far as they are signed."""
    from portcullis.bootstrap.incidents_history import history_of  # noqa: PLC0415 - slow
    from portcullis.bootstrap.records import recorded, records  # noqa: PLC0415 - slow
    from portcullis.store.incidents import SqlIncidents  # noqa: PLC0415 - slow
    from portcullis.store.projection import SqlProjection  # noqa: PLC0415 - slow

    if _ID.fullmatch(incident) is None:
        raise Problem("PC7004", "an id is of letters, digits and -")
    loaded = load(config)
    if not recorded(loaded):
        raise Problem("PC7005", f"there is no record store in {loaded.state}")
    engine = records(loaded)
    try:
        found = SqlIncidents(engine).get(incident)
        if found is None:
            raise Problem("PC7060", "there is no incident of this id")
        catch_up(loaded, SqlProjection(engine), quiet=True)
        yield found, history_of(loaded, engine)
    finally:
        engine.dispose()


def _radius_lines(drawn: Radius) -> Iterator[str]:
    from portcullis.review.incident_radius import WAYS  # noqa: PLC0415 - slow

    for one in drawn.written:
        shared = f", which others may read as {one.shared}" if one.shared else ""
        yield f"it changed something through {one.tool}, {one.count} times{shared}"
    for each in drawn.reached:
        yield f"{each.agent} {WAYS[each.how]}{_through(each)}"
    if not drawn.reached:
        yield "No other agent is known to have come by what it wrote."
    if drawn.beyond:
        yield f"{drawn.beyond} further rows are not shown"
    for limit in drawn.limits:
        yield f"note: {limit}"


def _through(one: Reached) -> str:
    read = f" through {one.read}" if one.read else ""
    return f"{read}, {one.count} times ({one.log} {one.first} to {one.last})"
