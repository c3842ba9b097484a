"""``portcullis audit access`` and ``reindex``, and what makes ``query`` fast: the projection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from portcullis.audit.export.source import Source, event_of
from portcullis.audit.query import Filter, Record, records
from portcullis.audit.verify import own_verifier
from portcullis.cli.audit_lines import clean, moment, note, print_json
from portcullis.cli.audit_place import Log, entries_of
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.config import Config
    from portcullis.store.projection import Access, SqlProjection


def access(
    agent: Annotated[str, typer.Option(help="The agent's name.")],
    since: Annotated[str, typer.Option(help="ISO 8601, included; UTC if it says nothing.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """What an agent has reached, over all its sessions: tools, users and subjects, how often."""
    start = moment(since)
    loaded = load(config)
    with store(loaded) as projection:
        logs = catch_up(loaded, projection, quiet=as_json)
        for row in projection.access(agent, start.timestamp() if start else 0.0, logs=logs):
            if as_json:
                times = {"first": _shown(row.first), "last": _shown(row.last)}
                print_json(msgspec.structs.asdict(row) | times)
            else:
                print(clean(_line(row)))


def reindex(config: ConfigFile = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Make the record store's projection of the logs anew, from the logs."""
    loaded = load(config)
    with store(loaded) as projection:
        counts = catch_up(loaded, projection, anew=True, quiet=as_json)
    for name, count in counts.items():
        if as_json:
            print_json({"log": name, "entries": count})
        else:
            print(f"{name}: {count} entries")


def candidates(config: Config, log: Log, wanted: Filter) -> Iterator[Record]:
    """A log's events among which are all that fit: looked up as far as the projection reaches.

    What is handed out is the log's own entry, never a row. Without a database, or when the
    projection is of another log, the whole log is read.
    """
    from portcullis.bootstrap.projection import projection_of  # noqa: PLC0415 - slow
    from portcullis.store.projection import Projector  # noqa: PLC0415 - the same

    source, name = Source(*log), log.verifier.name.rpartition("/")[2]
    following = 0
    with projection_of(config) as projection:
        if projection is not None:
            reached = Projector(projection, name, source).reached()
            following = reached.next
            for number in projection.find(name, wanted, reached):
                ((_, entry),) = source.read(number, 1)
                yield Record(number, event_of(entry), entry)
    yield from records(*log, following)


@contextlib.contextmanager
def store(config: Config) -> Iterator[SqlProjection]:
    """The projection in the record store. Raises Problem PC7005 when there is none."""
    from portcullis.bootstrap.projection import projection_of  # noqa: PLC0415 - slow

    with projection_of(config) as projection:
        if projection is None:
            raise Problem("PC7005", f"there is no record store in {config.state}")
        yield projection


def catch_up(
    config: Config, projection: SqlProjection, *, anew: bool = False, quiet: bool = False
) -> dict[str, int]:
    """Project what is not projected yet of every log; how many entries, by log."""
    from portcullis.bootstrap.projection import caught_up  # noqa: PLC0415 - slow
    from portcullis.config.places import logs_of  # noqa: PLC0415 - slow
    from portcullis.store.projection import Projector  # noqa: PLC0415 - slow

    counts = {}
    for name, directory in logs_of(config).items():
        verifier = own_verifier(directory)
        projector = Projector(projection, name, Source(directory, verifier))
        if anew:
            projector.restart()
        total = entries_of(directory, verifier) if anew else None
        with progress(f"indexing {name}", total, quiet=quiet) as advance:
            counts[name] = caught_up(projector, advance)
    if not counts:
        note("there is no audit log yet")
    return counts


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(row: Access) -> str:
    what = ".".join(filter(None, (row.server, row.name)))
    parts = [
        f"{row.action:<8}",
        what,
        f"allowed={row.allowed} denied={row.denied} sessions={row.sessions}",
        f"user={row.user or '-'}",
        f"subject={row.subject or '-'}",
        f"{_shown(row.first)} .. {_shown(row.last)}",
    ]
    return "  ".join(parts)
