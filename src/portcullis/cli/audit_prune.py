"""``portcullis audit prune``: entries go as policy allows, and that they do is recorded."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import typer

from portcullis.cli.audit_lines import note, print_json
from portcullis.cli.audit_privacy import Reason, line
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem


def prune(
    reason: Reason,
    before: Annotated[
        datetime | None,
        typer.Option(help="What is from before this goes; default: what is past its maximum."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Prune the gate's log as `audit.retention` has it. There is no way back.

    Hashes stay, so the log and every proof go on to verify; `audit verify` says what is gone.
    """
    from portcullis.cli.operate import operations  # noqa: PLC0415 - slow

    if dry_run == yes:
        raise Problem("PC7004", "say --dry-run or --yes")
    until = None if before is None else before.replace(tzinfo=before.tzinfo or UTC).timestamp()
    total: Counter[str] = Counter()
    segment: int | None = 0
    rows = []
    settings = load(config)
    with operations(settings) as work, progress("pruning", quiet=as_json) as advance:
        while segment is not None:
            done = work.prune(segment, until, line(reason), dry_run=dry_run)
            segment = done.following
            total.update(done.classes)
            advance(sum(done.classes.values()))
            if done.first is None:
                continue
            if as_json:
                print_json(done.model_dump(exclude={"following"}))
            else:
                counts = ", ".join(f"{count} {name}" for name, count in done.classes.items())
                rows.append(f"{done.first} to {done.last}: {counts}")
    for row in rows:
        print(row)
    note(f"{total.total()} entries {'would be' if dry_run else 'were'} pruned")
