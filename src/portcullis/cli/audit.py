"""``portcullis audit``: read the log, verify it, prove an event. Reads files only.

Whatever an event holds was chosen by agents and upstreams: on the way to a terminal everything
that is not printable is escaped.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from portcullis.audit.note import Verifier
from portcullis.audit.proof import prove as make_proof
from portcullis.audit.proof import verify_proof as check_proof
from portcullis.audit.query import Filter, Record, find, follow, last, records, related
from portcullis.audit.verify import load_verifier, own_verifier
from portcullis.audit.verify import verify as check_log
from portcullis.cli.audit_export import export
from portcullis.cli.audit_lines import clean, moment, note, print_json
from portcullis.cli.audit_mirror import mirror
from portcullis.cli.audit_privacy import content, erase, hold, release
from portcullis.cli.audit_prune import prune
from portcullis.cli.audit_query import access, candidates, reindex
from portcullis.cli.audit_report import (
    KeepDays,
    MaxAge,
    Witnesses,
    expected,
    key_of,
    plain_report,
    print_report,
    processes,
    quorum_of,
)
from portcullis.cli.audit_stamps import check_stamps, plain_stamps, print_stamps, with_stamps
from portcullis.cli.audit_witness import witness
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import load
from portcullis.core.call import RiskClass
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType

_FAILED = 5

app = typer.Typer(no_args_is_help=True, add_completion=False)
for command in (witness, mirror, export, access, reindex, erase, content, hold, release, prune):
    app.command()(command)

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
    verdict: Annotated[str, typer.Option(help="allow, hold, deny or error.")] = "",
    code: Annotated[str, typer.Option(help="An error code such as PC3001.")] = "",
    risk: Annotated[str, typer.Option(help="read, modify, external or delete.")] = "",
    finding: Annotated[str, typer.Option(help="A type of finding, such as EMAIL.")] = "",
    trace: Annotated[str, typer.Option(help="A trace id.")] = "",
    user: Annotated[str, typer.Option(help="A user's commitment: hmac-sha256:...")] = "",
    credential: Annotated[str, typer.Option(help="The credential that was shown.")] = "",
    method: Annotated[str, typer.Option(help="Such as tools/call or sessions.open.")] = "",
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
    """Print the events that fit every option given.

    Without DIR the record store says where in the log to look; with it the log is read through.
    """
    _one_of("--type", kind, tuple(EventType))
    _one_of("--verdict", verdict, ("allow", "deny", "error"))
    _one_of("--code", code, tuple(CODES))
    _one_of("--risk", risk, tuple(RiskClass))
    place, verifier = _log(directory, config, key)
    wanted = Filter(
        type=kind,
        principal=principal,
        session=session,
        tool=tool,
        verdict=verdict,
        code=code,
        risk=risk,
        finding=finding,
        trace=trace,
        user=user,
        credential=credential,
        method=method,
        since=moment(since),
        until=moment(until),
    )
    found: Iterable[Record]
    if event:
        found = related(place, verifier, event)
    elif directory:
        found = records(place, verifier)
    else:
        found = candidates(load(config), place, verifier, wanted)
    matching = (record for record in found if wanted.matches(record.event))
    _print(_first(matching, limit) if limit else matching, as_json=as_json)


@app.command()
def verify(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIR|URL]",
            help="The log's directory, an http(s):// prefix of it, or a store (s3://, gs://, "
            "az://, file://); default: the configuration's.",
        ),
    ] = None,
    key: Key = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A checkpoint that you kept: shows a log rewritten since."),
    ] = None,
    witnesses: Witnesses = None,
    max_age: MaxAge = None,
    keep_days: KeepDays = 0.0,
    tsa: Annotated[
        Path | None,
        typer.Option(
            help="Verify its timestamps (RFC 3161) against these roots (PEM); fail without any."
        ),
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Bring at most so many bytes of a URL's log here; default: 4 GiB, and never "
            "more than half of what is free.",
        ),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Check a whole log offline: integrity, completeness, freshness. Exit code 5 on failure."""
    quorum = quorum_of(witnesses)
    key = key_of(quorum, key)
    with contextlib.ExitStack() as stack:
        if tsa is not None and (directory or "").startswith(("http://", "https://")):
            hint = "Verify a copy of it in a folder or a store."
            raise Problem("PC7004", "timestamps cannot be found behind http(s)", hint=hint)
        place = _brought(stack, directory, key, max_bytes) or _place(_folder(directory), config)
        verifier = _verifier(place, key)
        wanted = expected(_read(checkpoint), quorum, max_age, keep_days)
        report = check_log(place, verifier, expected=wanted, processes=processes())
        stamps = check_stamps(place, verifier, tsa)
    report = with_stamps(report, stamps)
    if as_json:
        where = {"directory": directory or str(place), "key_given": key is not None}
        print_json({**where, **plain_report(report), **plain_stamps(stamps)})
    else:
        print_report(report)
        print_stamps(stamps)
    if key is None:
        note("the key was read beside the log; whoever rewrote the log could replace it: --key")
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
    """Write a proof that an event is in the log: it verifies with public keys alone."""
    place, verifier = _log(directory, config, key)
    record = find(place, verifier, event_id)
    proof = make_proof(place, verifier, record.index)
    if output:
        try:
            output.write_text(proof, encoding="utf-8")
        except OSError as error:
            raise Problem("PC7005", f"cannot write the proof: {error.strerror}") from None
        note(f"the proof of entry {record.index} is in {output}")
    if as_json:
        print_json({"index": record.index, "event": msgspec.Raw(record.entry), "proof": proof})
    elif not output:
        sys.stdout.write(proof)


@app.command("verify-proof")
def verify_proof(
    proof: Annotated[Path, typer.Argument(help="The proof's file.")],
    key: Annotated[
        str | None,
        typer.Option(
            "--key", help="The log's public key, or a file with it; or --witnesses has it."
        ),
    ] = None,
    witnesses: Witnesses = None,
    as_json: Json = False,
) -> None:
    """Check a proof with public keys alone and print the event. Exit code 5 on failure."""
    text = (_read(proof) or b"").decode(errors="replace")
    quorum = quorum_of(witnesses)
    key = key_of(quorum, key)
    if key is None:
        raise Problem("PC7004", "a proof is checked with --key, or --witnesses that name one log")
    try:
        proven = check_proof(text, load_verifier(key), quorum, time.time())
        _one_object(proven.entry)
    except Problem as problem:
        if as_json:
            print_json({"ok": False, "reason": problem.detail})
            raise typer.Exit(_FAILED) from None
        raise
    head = proven.checkpoint
    if as_json:
        where = {"origin": head.origin, "index": proven.index, "size": head.size}
        print_json(
            {"ok": True, **where, "cosigned": proven.cosigned, "event": msgspec.Raw(proven.entry)}
        )
    else:
        print(f"proven: entry {proven.index} of {clean(head.origin)} ({head.size} entries)")
        for name, at in proven.cosigned.items():
            print(f"cosigned: {clean(name)}, {datetime.fromtimestamp(at, UTC):%FT%TZ}")
        print(clean(proven.entry.decode(errors="replace")))


def _one_object(entry: bytes) -> None:
    """What is not one JSON object could write itself into the answer that it stands in."""
    try:
        msgspec.json.decode(entry, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Problem("PC6005", "the entry is proven and is no event") from None


def _brought(
    stack: contextlib.ExitStack, place: str | None, key: str | None, most: int | None
) -> Path | None:
    """A folder with the log that is behind a URL, until the stack is closed; None for no URL."""
    if place is None or "://" not in place:
        return None
    if key is None:
        raise Problem("PC7004", "a log that is elsewhere is verified with --key")
    from portcullis.bootstrap.mirror import brought  # noqa: PLC0415 - a second, for this alone

    return stack.enter_context(brought(place, load_verifier(key), os.environ, most=most))


def _folder(place: str | None) -> Path | None:
    return None if place is None else Path(place)


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
            print_json({"index": record.index, "event": msgspec.Raw(record.entry)})
        else:
            print(clean(_row(record)), flush=True)


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
        f"looked_up_for={event.looked_up_for}" if event.looked_up_for else "",
        f"({event.reason})" if event.reason else "",
    ]
    return "  ".join(filter(None, parts))


def _outcome(event: Event) -> str:
    if event.result is None:
        return ""
    return f"{'error' if event.result.error else 'ok'} {event.result.bytes} bytes"
