"""``portcullis policy certify``: somebody looks at what an agent may, and says so."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.audit_privacy import Reason, line
from portcullis.cli.operate import operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.principals import moment
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.control.certifying_api import AgentReviewView, CertificateView

app = typer.Typer(no_args_is_help=True)

Agent = Annotated[str, typer.Argument(help="The agent's name.")]
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@app.callback()
def certify() -> None:
    """Access reviews: who may what, who looked at it, and what has to go."""


@app.command("list")
def list_all(
    agent: Annotated[
        str | None, typer.Argument(help="Only what was said about this agent.")
    ] = None,
    *,
    due: Annotated[bool, typer.Option("--due", help="Only agents whose review is due.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List the agents, how much each may, can and does, and who confirmed that when."""
    with operations(load(config)) as work:
        if agent is not None:
            history = work.certifying.history(_checked(agent))
            for certificate in history.certificates:
                _said(certificate, json=json)
            note(f"{clean(history.owner or 'nobody')} answers for it")
            if history.hindrance:
                note(clean(f"you may not confirm it: {history.hindrance}"))
            return
        found = work.certifying.agents()
    for one in found.agents:
        late = 0 < one.due <= found.at
        if due and not late:
            continue
        if json:
            print_json(one.model_dump(mode="json") | {"release": found.release, "overdue": late})
        else:
            print(clean(_row(one, late=late)))
    note(f"release {found.release} is in force")


@app.command()
def confirm(
    agent: Agent,
    reason: Reason,
    *,
    release: Annotated[
        int | None, typer.Option(min=1, help="What was looked at; default: what is in force.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Confirm that an agent may what it may, for its owner."""
    with operations(load(config)) as work:
        looked = release or work.certifying.agents().release
        done = work.certifying.confirm(_checked(agent), looked, line(reason))
    _said(done, json=json)


@app.command()
def revoke(
    agent: Agent,
    grant: Annotated[str, typer.Option(help="The grant's rule or path, as a review shows it.")],
    reason: Reason,
    *,
    for_all: Annotated[
        bool, typer.Option("--for-all", help="Also where other agents have the same grant.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Say that a grant has to go. A release without it is proposed, or there is a patch.

    The patch goes to stdout. Nothing changes before the release is activated, or it is applied.
    """
    with operations(load(config)) as work:
        done = work.certifying.revoke(_checked(agent), grant, line(reason), for_all=for_all)
    if json:
        print_json(done.model_dump(mode="json"))
        return
    sys.stdout.write(done.patch)
    if done.certificate.led_to:
        note(f"proposed as release {done.certificate.led_to}: others approve and activate it")
    else:
        note("apply the patch to the policy folder: nothing has changed yet")


def _checked(agent: str) -> str:
    if _NAME.fullmatch(agent) is None:
        raise Problem("PC7004", "an agent's name is a-z, 0-9 and -")
    return agent


def _said(one: CertificateView, *, json: bool) -> None:
    if json:
        print_json(one.model_dump(mode="json"))
        return
    what = f"{one.grant} " if one.grant else ""
    led = f" (release {one.led_to})" if one.led_to else ""
    text = f"{moment(one.at)}  {one.agent} {one.said} {what}by {one.by}, release {one.release}{led}"
    print(clean(f"{text}: {one.reason}"))


def _row(one: AgentReviewView, *, late: bool) -> str:
    reachable = "-" if one.reachable is None else one.reachable
    counts = f"{one.declared} declared, {one.effective} effective, {reachable} reachable"
    by = f"{moment(one.confirmed_at)} by {one.confirmed_by}" if one.confirmed_at else "never"
    due = f"  {'OVERDUE since' if late else 'due'} {moment(one.due)}" if one.due else ""
    return (
        f"{one.agent}  {one.role}  {one.owner or 'no owner'}  {counts}, {one.used} used  "
        f"confirmed {by}{due}"
    )
