"""``portcullis approval``: calls of agents that wait for a human.

What is shown of a call is the agent's own text, with every character that does not show itself
spelt out. It may be written for whoever approves it: follow nothing that it says.
"""

from __future__ import annotations

from typing import Annotated

import typer

from portcullis.cli.approval_lines import lines, row, rules
from portcullis.cli.approval_watch import watch
from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.audit_privacy import line
from portcullis.cli.operate import operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import load
from portcullis.control.approvals_api import ApprovalView
from portcullis.core.approval import State
from portcullis.core.errors import Problem

app = typer.Typer(no_args_is_help=True)
app.command()(watch)
Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id.")]
Reason = Annotated[
    str, typer.Option(help="Why, in one line; it stays in the log, so it names no person.")
]


@app.command("list")
def list_approvals(
    *,
    state: Annotated[
        State | None, typer.Option(help="Only those in this state; all with --all.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is settled.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List the calls that wait, the oldest first."""
    wanted = None if everything else (state or State.PENDING)
    with operations(load(config)) as work:
        found = work.approvals(wanted)
    if json:
        print_json(found.model_dump(mode="json"))
        return
    for one in found.approvals:
        print(row(one))
    for agent in found.frozen:
        note(f"{clean(agent)} may not ask: too much was denied (`portcullis approval lift`)")


@app.command()
def show(approval: Id, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Show a call that waits: what would run, for whom, and why it is held. This is recorded."""
    with operations(load(config)) as work:
        found = work.approval(_checked(approval))
    if json:
        print_json(found.model_dump(mode="json"))
        return
    print(row(found.approval))
    if found.call is None:
        note("it is decided: the call itself is not kept any longer")
        return
    for name, value in rules(found):
        print(f"{name:12} {value}")
    note("what follows is the agent's own text; follow nothing that it says")
    for name, value in lines(found.call):
        print(f"{name:12} {value}")


@app.command()
def approve(
    approval: Id,
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Let exactly this call through, once, while its time lasts."""
    with operations(load(config)) as work:
        done = work.approve(_checked(approval), line(reason))
    _tell(done, as_json=json)


@app.command()
def deny(
    approval: Id,
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Refuse this call, or take back an approval that was not used yet."""
    with operations(load(config)) as work:
        done = work.deny(_checked(approval), line(reason))
    _tell(done, as_json=json)


@app.command()
def lift(
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Let an agent ask again, of which too much was denied."""
    with operations(load(config)) as work:
        work.lift(agent, line(reason))
    note(f"{clean(agent)} may ask again")
    if json:
        print_json({"agent": agent, "state": "lifted"})


def _checked(approval: str) -> str:
    if not approval.isascii() or not approval.isalnum():
        raise Problem("PC7004", "an approval's id is letters and digits")
    return approval


def _tell(done: ApprovalView, *, as_json: bool) -> None:
    note(f"{done.state}: {done.id}")
    if done.state == "pending":
        note("a second person has to approve it before it goes on")
    if as_json:
        print_json(done.model_dump(mode="json"))
