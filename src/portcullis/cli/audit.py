"""``portcullis audit``: read the log, verify it, prove an event. Reads files only.

Whatever an event holds was chosen by agents and upstreams: on the way to a terminal everything
that is not printable is escaped.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from portcullis.audit.proof import prove as make_proof
from portcullis.audit.proof import verify_proof as check_proof
from portcullis.audit.query import Filter, Record, find, records, related
from portcullis.audit.quorum import Quorum
from portcullis.audit.verify import load_verifier
from portcullis.audit.verify import verify as check_log
from portcullis.cli.audit_export import export
from portcullis.cli.audit_lines import clean, moment, note, print_json
from portcullis.cli.audit_mirror import mirror
from portcullis.cli.audit_place import (
    Directory,
    Key,
    Log,
    entries_of,
    logs_at,
    lost_of,
    one_of,
)
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
from portcullis.cli.audit_rows import print_records
from portcullis.cli.audit_sealed import identity, opened
from portcullis.cli.audit_stamps import check_stamps, plain_stamps, print_stamps, with_stamps
from portcullis.cli.audit_tail import VERDICTS, tail
from portcullis.cli.audit_witness import witness
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.progress import progress
from portcullis.core.call import RiskClass
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.core.event import EventType

_FAILED = 5

app = typer.Typer(no_args_is_help=True, add_completion=False)
for command in (
    *(witness, mirror, export, access, reindex, erase, content, hold, release, prune),
    identity,
):
    app.command()(command)

app.command("open")(opened)
app.command()(tail)


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
    """Print the events that fit every option given, those of several logs in order of time.

    Without DIR the record store says where in the logs to look; with it the log is read through.
    """
    one_of("--type", kind, tuple(EventType))
    one_of("--verdict", verdict, VERDICTS)
    one_of("--code", code, tuple(CODES))
    one_of("--risk", risk, tuple(RiskClass))
    logs = logs_at(directory, config, key)
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
    found: list[Iterable[Record]]
    if event:
        found = [_around(logs, event)]
    elif directory:
        found = [records(*log) for log in logs]
    else:
        loaded = load(config)
        found = [candidates(loaded, log, wanted) for log in logs]
    merged = heapq.merge(*found, key=lambda record: record.event.time)
    matching = (record for record in merged if wanted.matches(record.event))
    print_records(_first(matching, limit) if limit else matching, as_json=as_json)


@app.command()
def verify(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIR|URL]",
            help="The log's directory, an http(s):// prefix of it, or a store (s3://, gs://, "
            "az://, file://); default: all logs of the configuration.",
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
    ok = True
    with contextlib.ExitStack() as stack:
        if tsa is not None and (directory or "").startswith(("http://", "https://")):
            hint = "Verify a copy of it in a folder or a store."
            raise Problem("PC7004", "timestamps cannot be found behind http(s)", hint=hint)
        brought = _brought(stack, directory, key, max_bytes)
        logs = logs_at(brought or _folder(directory), config, key)
        held = _kept(checkpoint, logs)
        for log in logs:
            with progress("verifying", entries_of(*log), quiet=as_json) as advance:
                asked = quorum if len(logs) == 1 or _asked(log, quorum) else None
                mine = max_age if asked or quorum is None else None
                wanted = expected(held.get(log), asked, mine, keep_days)
                report = check_log(*log, expected=wanted, processes=processes(), advance=advance)
                stamps = check_stamps(*log, tsa)
            report = with_stamps(report, stamps)
            if as_json:
                where = {"directory": directory or str(log.place), "key_given": key is not None}
                print_json({**where, **plain_report(report), **plain_stamps(stamps)})
            else:
                print_report(report)
                print_stamps(stamps)
            ok = ok and report.ok
    for name in () if directory or key else lost_of(config):
        note(f"FAILED: the log {clean(name)} is gone; its keys are there")
        ok = False
    if key is None:
        note("the key was read beside the log; whoever rewrote the log could replace it: --key")
    if not ok:
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
    logs = logs_at(directory, config, key)
    total = sum(entries_of(*log) or 0 for log in logs)
    with progress("looking for it", total, quiet=as_json) as advance:
        log, record = _found(logs, event_id, advance)
        proof = make_proof(*log, record.index)
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


def _found(
    logs: Sequence[Log], event_id: str, advance: Callable[[int], None] = lambda _: None
) -> tuple[Log, Record]:
    """The event of this id and its log. Problem PC6004 when none of them has it."""
    for log in logs:
        try:
            return log, find(*log, event_id, advance)
        except Problem as problem:
            if problem.code != "PC6004" or log is logs[-1]:
                raise
    raise Problem("PC6004", "there is no log")


def _around(logs: Sequence[Log], event_id: str) -> list[Record]:
    """An event of one of these logs with what belongs to it there."""
    log, _ = _found(logs, event_id)
    return related(*log, event_id)


def _kept(checkpoint: Path | None, logs: Sequence[Log]) -> dict[Log, bytes]:
    """A checkpoint that was kept, for the log that it is of. Problem PC7004 when it is of none."""
    held = _read(checkpoint)
    if held is None:
        return {}
    if len(logs) == 1:
        return {logs[0]: held}
    origin = held.partition(b"\n")[0].decode(errors="replace")
    own = {log: held for log in logs if log.verifier.name == origin}
    if not own:
        raise Problem("PC7004", f"the checkpoint is of {clean(origin)}, and no log here is")
    return own


def _asked(log: Log, quorum: Quorum | None) -> bool:
    """Whether witnesses have to vouch for this one of several: all but wrappers' logs are fed."""
    return quorum is not None and (
        quorum.admits(log.verifier) or not log.verifier.name.rpartition("/")[2].startswith("mcp-")
    )


def _folder(place: str | None) -> Path | None:
    return None if place is None else Path(place)


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise Problem("PC7005", f"{path}: {error.strerror}") from None


def _first(found: Iterator[Record], limit: int) -> Iterator[Record]:
    for record, _ in zip(found, range(limit), strict=False):
        yield record
