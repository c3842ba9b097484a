"""``portcullis audit mirror``: keep a verified, cosigned copy of somebody's log."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from portcullis.audit.quorum import load_quorum
from portcullis.audit.verify import load_verifier
from portcullis.cli.options import Json
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem

_PASSING = frozenset({"PC6007", "PC6021", "PC7005"})
"""What may be otherwise in a while: no quorum yet, a store that is away, no log yet."""
_MOST_SECONDS = 300.0


def mirror(
    source: Annotated[
        str, typer.Option("--from", help="A folder, http(s)://, s3://, gs://, az:// or file://.")
    ],
    target: Annotated[str, typer.Option("--to", help="A folder, s3://, gs://, az:// or file://.")],
    key: Annotated[str, typer.Option("--key", help="The log's verifier key, or a file with it.")],
    state: Annotated[Path, typer.Option(help="Its folder: its key and what it has seen.")],
    name: Annotated[
        str, typer.Option(help="The name of its key, such as example.org/mirror; only at first.")
    ] = "",
    witnesses: Annotated[
        Path | None, typer.Option(help="A tlog-policy file: mirror only what its quorum cosigned.")
    ] = None,
    retention_days: Annotated[
        float | None,
        typer.Option(min=0.001, max=36_500, help="Lock what is stored (S3 object lock)."),
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and exit.")] = False,
    as_json: Json = False,
) -> None:
    """Copy a log and verify it before it is stored; cosign it. Exit code 5 at a fork or rollback.

    Keys of S3 are those in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the token of temporary
    ones is in AWS_SESSION_TOKEN.
    """
    from portcullis.bootstrap.mirror import opened_mirror  # noqa: PLC0415 - a second, for this one

    verifier = load_verifier(key)
    quorum = load_quorum(witnesses) if witnesses else None
    with opened_mirror(
        source,
        target,
        state,
        name,
        verifier,
        environ=os.environ,
        quorum=quorum,
        retention_days=retention_days,
    ) as (mirroring, vkey):
        _say({"vkey": vkey}, f"mirroring {verifier.name} as {vkey}", as_json=as_json)
        failures, level_at = 0, time.monotonic()
        while True:
            wait = every
            try:
                with progress("copying and verifying", quiet=as_json):
                    done = mirroring.step()
                failures, level_at = 0, time.monotonic()
                text = f"{done.origin}: {done.size} entries, {done.added} new"
                _say({"ok": True, **msgspec.structs.asdict(done)}, text, as_json=as_json)
            except Problem as problem:
                lag = round(time.monotonic() - level_at, 1)
                said = {"ok": False, "code": problem.code, "reason": problem.detail}
                if once or problem.code not in _PASSING:
                    if as_json:
                        print(json.dumps(said), flush=True)
                    raise
                wait = min(_MOST_SECONDS, max(every, 2.0 ** min(failures, 20)))
                failures += 1
                text = f"{problem.code}: {problem.detail} (behind for {lag} s)"
                _say({**said, "lag_seconds": lag}, text, as_json=as_json)
            if once:
                return
            time.sleep(wait)


def _say(said: dict[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(said), flush=True)
    else:
        sys.stderr.write(f"{text}\n")
