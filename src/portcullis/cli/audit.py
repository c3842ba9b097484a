"""``portcullis audit``: read the log, verify it, prove an event. Reads files only.

Whatever an event holds was chosen by agents and upstreams: on the way to a terminal everything
that is not printable is escaped.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from portcullis.audit.note import Verifier
from portcullis.audit.proof import prove as make_proof
from portcullis.audit.proof import verify_proof as check_proof
from portcullis.audit.query import Filter, Record, find, follow, last, records, related
from portcullis.audit.verify import Report, load_verifier, own_verifier
from portcullis.audit.verify import verify as check_log
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import load
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType

_FAILED = 5

app = typer.Typer(no_args_is_help=True, add_completion=False)

Directory = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="The log's directory; default: the configuration's."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="The log's public key (a verifier key or a file with one), as you got it from "
        "somewhere else; default: log.vkey beside the log.",
    ),
]


@app.command()
def tail(
    directory: Directory = None,
    number: Annotated[int, typer.Option("-n", min=0, help="How many events.")] = 10,
    forever: Annotated[bool, typer.Option("-f", "--follow", help="Go on as they come.")] = False,
    key: Key = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Print the last events, and with -f those to come."""
    place, verifier = _log(directory, config, key)
    found = last(place, verifier, number + 1)
    following = found[-1].index + 1 if found else 0
    _print(found[-number:] if number else [], as_json=as_json)
    if forever:
        with contextlib.suppress(KeyboardInterrupt):
            _print(follow(place, verifier, following), as_json=as_json)


@app.command()
def query(
    directory: Directory = None,
    kind: Annotated[str, typer.Option("--type", help="tool_call, llm_call, ...")] = "",
    principal: Annotated[str, typer.Option(help="Who acted.")] = "",
    session: Annotated[str, typer.Option(help="In which session.")] = "",
    tool: Annotated[str, typer.Option(help="name or server.name.")] = "",
    verdict: Annotated[str, typer.Option(help="allow, deny or error.")] = "",
    code: Annotated[str, typer.Option(help="An error code such as PC3001.")] = "",
    since: Annotated[str, typer.Option(help="ISO 8601, included; UTC if it says nothing.")] = "",
    until: Annotated[str, typer.Option(help="ISO 8601, not included.")] = "",
    event: Annotated[
        str, typer.Option(help="An event's id: with its decision, result and model turn.")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 0,
    key: Key = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Print the events that fit every option given."""
    _one_of("--type", kind, tuple(EventType))
    _one_of("--verdict", verdict, ("allow", "deny", "error"))
    _one_of("--code", code, tuple(CODES))
    place, verifier = _log(directory, config, key)
    wanted = Filter(
        type=kind,
        principal=principal,
        session=session,
        tool=tool,
        verdict=verdict,
        code=code,
        since=_moment(since),
        until=_moment(until),
    )
    found: Iterable[Record] = related(place, verifier, event) if event else records(place, verifier)
    matching = (record for record in found if wanted.matches(record.event))
    _print(_first(matching, limit) if limit else matching, as_json=as_json)


@app.command()
def verify(
    directory: Directory = None,
    key: Key = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A checkpoint that you kept: shows a log rewritten since."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Check the whole log offline: signature, entries, tiles, journal. Exit code 5 on failure."""
    place = _place(directory, config)
    report = check_log(place, _verifier(place, key), _read(checkpoint))
    if as_json:
        _line({"directory": str(place), "key_given": key is not None, **_plain(report)})
    else:
        _print_report(report)
    if key is None:
        _note("the key was read beside the log; whoever rewrote the log could replace it: --key")
    if not report.ok:
        raise typer.Exit(_FAILED)


@app.command()
def prove(
    event_id: Annotated[str, typer.Argument(help="The event's id.")],
    directory: Directory = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the proof to this file.")
    ] = None,
    key: Key = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Write a proof that an event is in the log: it verifies with the log's public key alone."""
    place, verifier = _log(directory, config, key)
    record = find(place, verifier, event_id)
    proof = make_proof(place, verifier, record.index)
    if output:
        try:
            output.write_text(proof, encoding="utf-8")
        except OSError as error:
            raise Problem("PC7005", f"cannot write the proof: {error.strerror}") from None
        _note(f"the proof of entry {record.index} is in {output}")
    if as_json:
        _line({"index": record.index, "event": msgspec.Raw(record.entry), "proof": proof})
    elif not output:
        sys.stdout.write(proof)


@app.command("verify-proof")
def verify_proof(
    proof: Annotated[Path, typer.Argument(help="The proof's file.")],
    key: Annotated[str, typer.Option("--key", help="The log's public key, or a file with it.")],
    as_json: Json = False,
) -> None:
    """Check a proof with the log's public key and print the event. Exit code 5 on failure."""
    text = (_read(proof) or b"").decode(errors="replace")
    try:
        proven = check_proof(text, load_verifier(key))
    except Problem as problem:
        if as_json:
            _line({"ok": False, "reason": problem.detail})
            raise typer.Exit(_FAILED) from None
        raise
    head = proven.checkpoint
    if as_json:
        where = {"origin": head.origin, "index": proven.index, "size": head.size}
        _line({"ok": True, **where, "event": msgspec.Raw(proven.entry)})
    else:
        print(f"proven: entry {proven.index} of {_clean(head.origin)} ({head.size} entries)")
        print(_clean(proven.entry.decode(errors="replace")))


def _place(directory: Path | None, config: Path) -> Path:
    return directory or load(config).state / "log"


def _verifier(place: Path, key: str | None) -> Verifier:
    return own_verifier(place) if key is None else load_verifier(key)


def _log(directory: Path | None, config: Path, key: str | None) -> tuple[Path, Verifier]:
    place = _place(directory, config)
    return place, _verifier(place, key)


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise Problem("PC7005", f"{path}: {error.strerror}") from None


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Problem("PC7004", "a time must be ISO 8601, such as 2030-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    """A word that no event holds would find nothing, which reads as if nothing had happened."""
    if value and value not in known:
        raise Problem("PC7004", f"no event has {option} {value}", hint=f"Known: {', '.join(known)}")


def _first(found: Iterator[Record], limit: int) -> Iterator[Record]:
    for record, _ in zip(found, range(limit), strict=False):
        yield record


def _print(found: Iterable[Record], *, as_json: bool) -> None:
    for record in found:
        if as_json:
            _line({"index": record.index, "event": msgspec.Raw(record.entry)})
        else:
            print(_clean(_row(record)), flush=True)


_DOINGS: Final = frozenset({EventType.ADMIN, EventType.IDENTITY})


def _row(record: Record) -> str:
    event = record.event
    what = ".".join(filter(None, (event.server, event.name))) or event.method or event.action
    parts = [
        f"{record.index:>6}",
        f"{event.time:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        f"{event.type:<11}",
        f"{event.verdict or '-':<5}",
        event.code,
        event.principal or "-",
        event.method if event.method != what and event.type in _DOINGS else "",
        what,
        f"credential={event.credential}" if event.credential else "",
        f"session={event.session}" if event.session else "",
        _outcome(event),
        f"id={event.id}",
        f"decision={event.decision}" if event.decision else "",
        f"proposed_by={event.proposed_by}" if event.proposed_by else "",
        f"({event.reason})" if event.reason else "",
    ]
    return "  ".join(filter(None, parts))


def _outcome(event: Event) -> str:
    if event.result is None:
        return ""
    return f"{'error' if event.result.error else 'ok'} {event.result.bytes} bytes"


def _print_report(report: Report) -> None:
    print(
        f"{'verified' if report.ok else 'FAILED'}: {_clean(report.origin)}, {report.size} entries"
    )
    print(f"  integrity     {report.integrity}")
    print(f"  completeness  {report.completeness}{_hint(report)}")
    print(f"  journal       {report.journal} ({report.unpublished} entries not yet signed)")
    print(f"  last entry    {_clean(report.last_entry) or '-'}")
    print(f"  root          {report.root}")
    for reason in report.reasons:
        print(f"  reason        {_clean(reason)}")


def _hint(report: Report) -> str:
    if report.completeness != "unchecked":
        return ""
    return " (keep a copy of `checkpoint` elsewhere and pass it with --checkpoint)"


def _plain(report: Report) -> dict[str, Any]:
    return msgspec.structs.asdict(report)


def _line(value: Any) -> None:
    text = msgspec.json.encode(value).decode()
    if not text.isprintable():  # JSON's own escapes: the document stays the same
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    print(text, flush=True)


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
