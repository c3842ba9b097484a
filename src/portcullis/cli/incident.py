"""``portcullis incident``: one way through, from the first suspicion to the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from portcullis.cli import incident_report
from portcullis.cli.audit_lines import note as tell
from portcullis.cli.audit_lines import print_json
from portcullis.cli.audit_privacy import line
from portcullis.cli.incident_lines import due, lines, playbook, row
from portcullis.cli.incident_operations import RemoteIncidents
from portcullis.cli.operate import Operations, call, operations, running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.references import resolved
from portcullis.config import NAME, load
from portcullis.control.incidents_api import LONGEST_DAYS, NOTE, IncidentRequest
from portcullis.control.incidents_views import IncidentRow, IncidentView, ReinstatedView
from portcullis.core.errors import Problem
from portcullis.core.incident import Verdict
from portcullis.oversight.alerts.builtin import sources
from portcullis.oversight.incidents_playbook import load as load_playbooks

app = typer.Typer(no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="The incident's id.")]
Reason = Annotated[
    str, typer.Option(help="Why, in one line; it stays in the log, so it names no person.")
]
_ID: Final = re.compile(r"[0-9a-zA-Z-]{1,64}")
_UNWRITTEN: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")
_WORKLOAD: Final = re.compile(NAME.removeprefix("^").removesuffix("$"))


class Steps(StrEnum):
    """The way through, in its order."""

    CONTAIN = "contain"
    REVOKE = "revoke"
    ROTATE = "rotate"
    REAUDIT = "reaudit"
    REINSTATE = "reinstate"


class Containings(StrEnum):
    """How whoever it is about is contained."""

    KILL = "kill"
    QUARANTINE = "quarantine"


class Verdicts(StrEnum):
    """What a finding was."""

    BENIGN = "benign"
    HARM = "harm"
    UNKNOWN = "unknown"


_VERDICTS: Final[dict[Verdicts, Verdict]] = {
    Verdicts.BENIGN: "benign",
    Verdicts.HARM: "harm",
    Verdicts.UNKNOWN: "unknown",
}


@app.command("open")
def open_incident(
    reason: Reason,
    agent: Annotated[str | None, typer.Option(help="About this agent.")] = None,
    session: Annotated[str | None, typer.Option(help="About this session, and no more.")] = None,
    playbook: Annotated[
        str | None, typer.Option(help="The playbook to follow; default: the configured one.")
    ] = None,
    contain: Annotated[
        Containings | None, typer.Option(help="How to contain it; default: the playbook's.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="How many days of history to look at.")
    ] = None,
    alert: Annotated[str | None, typer.Option(help="The alert that it is opened for.")] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Open an incident about an agent or a session. The first step contains it."""
    if (agent is None) == (session is None):
        raise Problem("PC7004", "name --agent or --session")
    if _WORKLOAD.fullmatch(agent or session or "") is None:
        raise Problem("PC7004", "a name or an id is 1 to 63 of a-z, 0-9, - and _")
    wanted = IncidentRequest(
        agent=agent,
        session=session,
        reason=line(reason),
        playbook=_playbook(playbook),
        containing=contain.value if contain is not None else None,
        since_days=days,
        alert=_checked(alert) if alert is not None else None,
    )
    with operations(load(config)) as work:
        _tell(work.incidents.open(wanted), as_json=json)


@app.command("list")
def list_incidents(
    *,
    everything: Annotated[
        bool, typer.Option("--all/--unresolved", help="Also those that are over.")
    ] = False,
    agent: Annotated[str, typer.Option(help="Only those about this agent as a whole.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List incidents, the newest first."""
    with operations(load(config)) as work:
        for one in _all(work, unresolved=not everything, subject=f"agent:{agent}" if agent else ""):
            if json:
                print_json(one.model_dump(mode="json"))
            else:
                print(row(one))


@app.command()
def show(incident: Id, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Show an incident: how far it is, what is due, and what is left to do."""
    with operations(load(config)) as work:
        found = work.incidents.show(_checked(incident))
    if json:
        print_json(found.model_dump(mode="json"))
        return
    for text in lines(found):
        print(text)


@app.command()
def step(
    incident: Id,
    step: Annotated[Steps, typer.Argument(help="The step that is due.")],
    reason: Reason,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=LONGEST_DAYS, help="reinstate: how long the probation is."),
    ] = None,
    factor: Annotated[
        float | None,
        typer.Option(min=0.001, max=1.0, help="reinstate: how much of each limit is left."),
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Take the step that is due; any other is refused.

    rotate and reaudit list what has to be seen to, and end with the last of it. reinstate proposes;
    once somebody else has approved, it acts and prints a join token for the new identity.
    """
    if step is not Steps.REINSTATE and (days is not None or factor is not None):
        raise Problem("PC7004", "--days and --factor are of reinstate")
    with operations(load(config)) as work:
        if step is Steps.REINSTATE:
            done = work.incidents.reinstate(_checked(incident), line(reason), days, factor)
            _reinstated(done, as_json=json)
        else:
            found = work.incidents.step(_checked(incident), step.value, line(reason))
            _tell(found, as_json=json)


@app.command()
def rotate(
    incident: Id,
    reference: Annotated[
        str | None, typer.Argument(help="The credential; default: all whose source can be told.")
    ] = None,
    reason: Reason = "rotated after an incident",
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Have credentials rotated that it had access to, and see that they are others."""
    with operations(load(config)) as work:
        found: IncidentView = work.incidents.show(_checked(incident))
        wanted = [reference] if reference is not None else _rotatable(found)
        for one in wanted:
            found = work.incidents.credential(incident, one, "rotate", line(reason))
            known = {each.reference: each for each in found.credentials or ()}
            if one in known and not known[one].settled:
                tell(f"NOT ROTATED: {one}: {known[one].fault} {known[one].detail}")
        _tell(found, as_json=json)
    if any(not one.settled for one in found.credentials or () if one.reference in wanted):
        raise typer.Exit(1)


@app.command()
def settle(
    incident: Id,
    reference: Annotated[str, typer.Argument(help="The credential, by its reference.")],
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Say what was done by hand about a credential that could not be rotated from here."""
    with operations(load(config)) as work:
        found = work.incidents.credential(_checked(incident), reference, "by_hand", line(reason))
        _tell(found, as_json=json)


@app.command()
def judge(
    incident: Id,
    finding: Annotated[str, typer.Argument(help="The finding's id.")],
    verdict: Annotated[Verdicts, typer.Argument(help="What it was.")],
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Say what a finding of the re-audit was."""
    with operations(load(config)) as work:
        found = work.incidents.judge(_checked(incident), finding, _VERDICTS[verdict], line(reason))
        _tell(found, as_json=json)


@app.command()
def tick(
    incident: Id,
    item: Annotated[str, typer.Argument(help="The item's id.")],
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Say that something on the playbook's checklist is done."""
    with operations(load(config)) as work:
        _tell(work.incidents.tick(_checked(incident), item, line(reason)), as_json=json)


@app.command()
def note(
    incident: Id,
    text: Annotated[str, typer.Argument(help="What to write down; the log has its digest alone.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Write something down."""
    if not text or len(text) > NOTE or _UNWRITTEN.search(text):
        raise Problem("PC7004", f"a note has 1 to {NOTE} characters, none of them for control")
    with operations(load(config)) as work:
        _tell(work.incidents.note(_checked(incident), text), as_json=json)


@app.command()
def approve(
    incident: Id,
    reason: Reason,
    proposal: Annotated[
        str, typer.Option(help="Which: what `portcullis incident show` says of it.")
    ],
    token: Annotated[
        str | None,
        typer.Option(
            help="Your token from `portcullis operator login`, as env:NAME or file:PATH; "
            "default: whoever holds this deployment's key."
        ),
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Approve a reinstatement that somebody else proposed: the one that you were shown."""
    if re.fullmatch(r"[0-9a-f]{1,64}", proposal) is None:
        raise Problem("PC7004", "--proposal is hexadecimal: see `portcullis incident show`")
    settings = load(config)
    if token is None:
        with operations(settings) as work:
            found = work.incidents.approve(_checked(incident), line(reason), proposal)
            _tell(found, as_json=json)
        return
    gate = running_gate(settings)
    if gate is None:
        raise Problem("PC7005", "a token is for a gate that runs", hint="See `portcullis up`.")
    secret, url = resolved("--token", token), gate.control

    def ask(
        method: str, path: str, body: dict[str, object] | None = None, seconds: float = 30.0, /
    ) -> object:
        return call(url, method, f"/api/v1{path}", secret, body, seconds)

    found = RemoteIncidents(ask).approve(_checked(incident), line(reason), proposal)
    _tell(found, as_json=json)


@app.command()
def close(
    incident: Id, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """End an incident without letting the agent in again: it is revoked for ever."""
    with operations(load(config)) as work:
        _tell(work.incidents.close(_checked(incident), line(reason)), as_json=json)


@app.command("stand-down")
def stand_down(
    incident: Id, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """End an incident as a false alarm: what it contained itself is free again."""
    with operations(load(config)) as work:
        _tell(work.incidents.stand_down(_checked(incident), line(reason)), as_json=json)


@app.command()
def playbooks(
    place: Annotated[
        Path | None, typer.Argument(help="A file or a folder to check; default: those in force.")
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List the playbooks, or read some and say what is wrong with them, with file and line."""
    if place is not None:
        found = load_playbooks(sources(place))
        tell(f"{len(found)} playbooks can be read")
        if json:
            print_json({"playbooks": list(found)})
        return
    with operations(load(config)) as work:
        for one in work.incidents.playbooks().playbooks:
            if json:
                print_json(one.model_dump(mode="json"))
            else:
                print("\n".join(playbook(one)))


def _all(work: Operations, *, unresolved: bool, subject: str) -> Iterator[IncidentRow]:
    cursor = ""
    while True:
        page = work.incidents.list(unresolved=unresolved, subject=subject, cursor=cursor)
        yield from page.incidents
        cursor = page.following
        if not cursor:
            return


def _rotatable(found: IncidentView) -> list[str]:
    return [one.reference for one in found.credentials or () if one.hook and not one.settled]


def _checked(given: str) -> str:
    if _ID.fullmatch(given) is None:
        raise Problem("PC7004", "an id is of letters, digits and -")
    return given


def _playbook(given: str | None) -> str | None:
    if given is not None and re.fullmatch(r"[a-z][a-z0-9-]{0,62}", given) is None:
        raise Problem("PC7004", "a playbook's name is of a-z, 0-9 and -")
    return given


def _tell(found: IncidentView, *, as_json: bool) -> None:
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print(row(found))
    for text in due(found):
        tell(text)


def _reinstated(done: ReinstatedView, *, as_json: bool) -> None:
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    print(row(done.incident))
    for text in due(done.incident):
        tell(text)
    if done.join_token:
        tell("a join token for the new identity, shown once:")
        print(done.join_token)


incident_report.register(app)
