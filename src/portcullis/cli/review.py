"""``portcullis review``: calls that policy let pass at a high risk, to be looked at afterwards.

What is shown of a call is the agent's own text, with every character that does not show itself
spelt out. It may be written for whoever reads it: follow nothing that it says.
"""

from __future__ import annotations

import json as codec
from collections.abc import Iterator
from typing import Annotated

import typer

from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.audit_privacy import line
from portcullis.cli.audit_query import catch_up, store
from portcullis.cli.operate import Operations, operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.principals import moment
from portcullis.config import Config, load
from portcullis.control.reviews_api import ReviewDetail, ReviewView
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.core.review import Disposition, State, Wanted

app = typer.Typer(no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="The id of the call's event.")]
Reason = Annotated[
    str, typer.Option(help="Why, in one line; it stays in the log, so it names no person.")
]


@app.command("list")
def list_reviews(
    *,
    everything: Annotated[
        bool, typer.Option("--all/--open", help="Also what is closed; or only what is open.")
    ] = False,
    agent: Annotated[str, typer.Option(help="Only this agent's calls.")] = "",
    risk: Annotated[RiskClass | None, typer.Option(help="Only calls of this risk.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List the calls to be looked at, the oldest first."""
    state = None if everything else State.OPEN
    wanted = Wanted(state=state, agent=agent, risk=risk.value if risk else "")
    loaded = load(config)
    with operations(loaded) as work:
        _catch_up(loaded, quiet=json)
        for one in _all(work, wanted):
            if json:
                print_json(one.model_dump(mode="json"))
            else:
                print(_row(one))


@app.command()
def show(entry: Id, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Show a call and what is left of it: what ran, for whom, with what. This is recorded."""
    with operations(load(config)) as work:
        found = work.review(_checked(entry))
    if json:
        print_json(found.model_dump(mode="json"))
        return
    print(_row(found.review))
    note("what follows is the agent's own text; follow nothing that it says")
    for name, value in _lines(found):
        print(f"{clean(name):12} {clean(value)}")
    if not found.content:
        note("no content of this call is kept (any more): see docs/privacy.md")
    if any(not one.intact for one in found.content):
        note("what is marked as altered is not what the log commits to")


@app.command()
def close(
    entry: Id,
    disposition: Annotated[Disposition, typer.Option(help="What the call was.")],
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Say what a call was."""
    loaded = load(config)
    with operations(loaded) as work:
        _catch_up(loaded, quiet=json)
        done = work.close(_checked(entry), disposition, line(reason))
    _tell(done, as_json=json)


@app.command()
def reopen(
    entry: Id,
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Look at a call again that was closed."""
    loaded = load(config)
    with operations(loaded) as work:
        _catch_up(loaded, quiet=json)
        done = work.reopen(_checked(entry), line(reason))
    _tell(done, as_json=json)


def _catch_up(config: Config, *, quiet: bool) -> None:
    """Read what the queue does not know yet."""
    with store(config) as projection:
        catch_up(config, projection, quiet=quiet)


def _all(work: Operations, wanted: Wanted) -> Iterator[ReviewView]:
    cursor = ""
    while True:
        page = work.reviews(wanted, cursor)
        yield from page.reviews
        cursor = page.cursor
        if not cursor:
            return


def _checked(entry: str) -> str:
    if not entry.isascii() or not entry.isalnum():
        raise Problem("PC7004", "an event's id is letters and digits")
    return entry


def _tell(done: ReviewView, *, as_json: bool) -> None:
    note(f"{done.state}: {done.id}")
    if as_json:
        print_json(done.model_dump(mode="json"))


def _row(one: ReviewView) -> str:
    what = f"{one.server}.{one.name}" if one.server else one.name
    state = one.disposition or one.state
    row = f"{one.id}  {state:9} {one.risk:8} {one.agent}  {what}  {moment(one.at)}"
    if one.decided_by:
        row += f"  {one.decided_by}: {one.reason}"
    return clean(row)


def _lines(found: ReviewDetail) -> list[tuple[str, str]]:
    """What the reader sees, in the order in which it matters."""
    entry = found.review
    content = {one.name.removeprefix("arguments."): one for one in found.content}
    rows = [(f"  {name}", codec.dumps(value)) for name, value in found.clear.items()]
    rows += [
        (f"  {name}", one.value if one.intact else f"{one.value}  ALTERED")
        for name, one in content.items()
    ]
    missing = [name for name in entry.arguments if name not in found.clear.keys() | content.keys()]
    rows += [
        *([("not kept", ", ".join(missing))] if missing else []),
        ("passed by", entry.rule),
        ("agent", entry.agent),
        ("user", found.user or entry.user),
        ("application", entry.application),
        ("session", entry.session),
    ]
    if found.task is not None:
        grant = found.task.grant
        rows += [
            *(("said", prompt) for prompt in found.task.prompts),
            ("subject", codec.dumps(found.task.subject)),
            ("grant", "any tool" if grant is None else ", ".join(grant)),
        ]
    return rows
