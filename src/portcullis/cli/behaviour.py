"""``portcullis behaviour``: what is usual for agents, and what was unusual lately."""

from __future__ import annotations

from typing import Annotated

import typer

from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.audit_privacy import line
from portcullis.cli.operate import operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.principals import Name, moment
from portcullis.config import load
from portcullis.control.behaviour_api import StandingView

app = typer.Typer(no_args_is_help=True)
Reason = Annotated[
    str, typer.Option(help="Why, in one line; it stays in the log, so it names no person.")
]


@app.command("list")
def list_agents(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List all agents that were ever seen: phase, level, score."""
    with operations(load(config)) as work:
        for one in work.behaviours().agents:
            if json:
                print_json(one.model_dump(mode="json"))
            else:
                print(_row(one))


@app.command()
def show(agent: Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Show what is usual for an agent: what ratifying it says yes to."""
    with operations(load(config)) as work:
        found = work.behaviour(agent)
    if json:
        print_json(found.model_dump(mode="json"))
        return
    print(_row(found.standing))
    for one in found.usual:
        print(clean(f"  {one.subject}: {one.usual}"))
    if not found.usual:
        note("nothing is kept yet: a baseline is written twice a minute")


@app.command()
def explain(agent: Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Say why an agent's score is what it is."""
    with operations(load(config)) as work:
        found = work.behaviour(agent).standing
    if json:
        print_json(found.model_dump(mode="json"))
        return
    print(_row(found))
    for one in found.reasons:
        times = "" if one.count == 1 else f", {one.count} times"
        said = f"  {one.weight:5.1f}  {one.kind}: {one.subject}: {one.seen}"
        print(clean(f"{said} (usual: {one.usual}{times})  {moment(one.at)}"))
    if not found.reasons:
        note("nothing about it is unusual")


@app.command()
def ratify(
    agent: Name, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """Say that what an agent does is as it should be; from now on, the rest is unusual."""
    with operations(load(config)) as work:
        done = work.ratify_behaviour(agent, line(reason))
    _tell(done, as_json=json)


@app.command()
def reset(
    agent: Name, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """Forget what was learned of an agent, its score with it, and learn anew."""
    with operations(load(config)) as work:
        done = work.reset_behaviour(agent, line(reason))
    _tell(done, as_json=json)


def _tell(done: StandingView, *, as_json: bool) -> None:
    note(f"{done.phase}: {done.agent}")
    if as_json:
        print_json(done.model_dump(mode="json"))


def _row(one: StandingView) -> str:
    kinds = ", ".join(dict.fromkeys(reason.kind for reason in one.reasons))
    row = f"{one.agent:24} {one.phase:9} {one.level:9} {one.score:6.1f}  {one.days} days"
    return clean(f"{row}  {kinds}".rstrip())
