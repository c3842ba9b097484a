"""What ``audit verify`` says of a log, and what it is held against."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from portcullis.audit.account import Count
from portcullis.audit.quorum import Quorum, load_quorum
from portcullis.audit.verify import Expected, Report
from portcullis.cli.audit_lines import clean, note
from portcullis.core.errors import Problem

Witnesses = Annotated[
    Path | None,
    typer.Option("--witnesses", help="A witness policy (C2SP tlog-policy): its quorum is needed."),
]
MaxAge = Annotated[
    float | None,
    typer.Option(
        "--max-age", min=0, help="Fail when the witnesses vouched for the log longer ago (seconds)."
    ),
]
KeepDays = Annotated[
    float,
    typer.Option("--keep-days", min=0, help="Fail when younger entries than this were pruned."),
]


def quorum_of(witnesses: Path | None) -> Quorum | None:
    """The witness policy in a file, if one is given."""
    return None if witnesses is None else load_quorum(witnesses)


def key_of(quorum: Quorum | None, key: str | None) -> str | None:
    """The log's key: as given or, without that, the only one that the policy names."""
    if key is None and quorum is not None and len(quorum.logs) == 1:
        return str(quorum.logs[0].verifier)
    return key


def expected(
    held: bytes | None, quorum: Quorum | None, max_age: float | None, keep_days: float = 0.0
) -> Expected:
    """What a log is held against now. Problem PC7004 for an age that nobody can vouch for."""
    if max_age is not None and quorum is None:
        raise Problem("PC7004", "--max-age needs --witnesses: only they can say how old it is")
    now = time.time()
    return Expected(held=held, quorum=quorum, now=now, max_age=max_age, keep_days=keep_days)


def processes() -> int:
    """As many as may run at once here."""
    return len(os.sched_getaffinity(0))


def plain_report(report: Report) -> dict[str, Any]:
    """A report for programs."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def print_report(report: Report) -> None:
    """A report for people."""
    print(f"{'verified' if report.ok else 'FAILED'}: {clean(report.origin)}, {report.size} entries")
    print(f"  integrity     {report.integrity}")
    print(f"  completeness  {report.completeness}")
    print(f"  freshness     {report.freshness}{_age(report)}")
    print(f"  journal       {report.journal} ({report.unpublished} entries not yet signed)")
    print(f"  published     {max(0, report.published)} entries{_cosigned(report.cosigned)}")
    print(f"  last entry    {clean(report.last_entry) or '-'}")
    print(f"  root          {report.root}")
    events = report.events
    print(f"  decisions     {events.decisions}{_open(events.in_flight, events.cut)}")
    for gone in events.pruned:
        said = ", ".join(map(clean, gone.events)) or "NOBODY"
        print(f"  pruned        {gone.count} of {gone.first} to {gone.last}, on record as {said}")
    for reason in report.reasons:
        print(f"  reason        {clean(reason)}")
    if report.completeness == "unchecked":
        note("what was taken back is not seen: keep `checkpoint` elsewhere and pass --checkpoint")
    if report.freshness == "unchecked":
        note("how old this log is was not checked: --witnesses and --max-age")


def _age(report: Report) -> str:
    return "" if report.age is None else f" (a quorum vouched for it {report.age:.0f} s ago)"


def _cosigned(times: Mapping[str, int]) -> str:
    shown = (
        f"{clean(name)} {datetime.fromtimestamp(at, UTC):%FT%TZ}" for name, at in times.items()
    )
    said = ", ".join(shown)
    return f", cosigned by {said}" if said else ""


def _open(in_flight: Count, cut: Count) -> str:
    """The decisions without a result."""
    said = ""
    for count, what in ((in_flight, "without a result yet"), (cut, "cut off by a restart")):
        if count.count:
            ids = ", ".join(map(clean, count.first))
            said += (
                f", {count.count} {what} ({ids}{', ...' if count.count > len(count.first) else ''})"
            )
    return said
