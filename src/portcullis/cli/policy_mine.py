"""``portcullis policy mine``: a minimal policy for an agent, from what it was seen to do."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.cli.audit_lines import clean, moment, note
from portcullis.cli.audit_place import places_of
from portcullis.cli.json_lines import write_line
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.policy_diff import Reading, contents
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem
from portcullis.policy.source import read

if TYPE_CHECKING:
    from portcullis.review.mine import Proposal

_FAILED = 5


def mine(
    agent: Annotated[str, typer.Option(help="The agent to mine a policy for.")],
    *,
    since: Annotated[str, typer.Option(help="ISO 8601, included; UTC if it says nothing.")] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A new folder for the draft, its patch and report."),
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The policy folder; default: the configuration's.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="For how long to grant it.")] = 90,
    content: Reading = "",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Draft a policy from the allowed, untainted, successful calls of an agent. Activates nothing.

    Without -o the patch goes to stdout. Exit code 5 when the draft would refuse a call that it was
    mined from, or holds the agent back less than the policy now.
    """
    from portcullis.bootstrap.mining import scopes_of  # noqa: PLC0415 - slow
    from portcullis.review.mine import propose  # noqa: PLC0415 - the same
    from portcullis.review.replay_asked import events  # noqa: PLC0415 - the same

    settings = load(config)
    files = read(directory or settings.policy)
    places = places_of(config)
    start = moment(since)
    with (
        contents(config, content) as reading,
        scopes_of(settings, files) as scopes,
        progress("mining", quiet=as_json),
    ):
        found = propose(
            files,
            agent,
            lambda: events(places, start),
            datetime.now(UTC),
            since=start,
            lasting=timedelta(days=days),
            contents=reading,
            scopes=scopes,
            environment=settings.environment,
        )
    if output is not None:
        _write(found, output)
    elif not as_json:
        sys.stdout.write(found.draft.patch)
    _report(found, as_json=as_json)
    if found.lost or found.loosened:
        raise typer.Exit(_FAILED)


def _write(found: Proposal, output: Path) -> None:
    from portcullis.review.mine_report import folder  # noqa: PLC0415 - slow

    if output.exists():
        raise Problem("PC7004", f"{output} exists", hint="Name a new folder.")
    try:
        folder(found, output)
    except OSError as error:
        shutil.rmtree(output, ignore_errors=True)
        raise Problem("PC7004", f"cannot write {output}: {error.strerror}") from None


def _report(found: Proposal, *, as_json: bool) -> None:
    from portcullis.review.mine_report import facts, lines  # noqa: PLC0415 - slow

    if as_json:
        write_line(facts(found))
        return
    for line in lines(found):
        note(clean(line))
