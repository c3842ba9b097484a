"""``portcullis alert``: what was raised, what is done about it, and the rules that raise it.

What a group is may be an agent's own text; every character that does not show itself is spelt out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from portcullis.cli import alert_rules
from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.audit_privacy import line
from portcullis.cli.operate import Operations, operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.principals import moment
from portcullis.config import load
from portcullis.control.alerts_api import RULE, AlertView, SilenceView
from portcullis.core.alert import UNRESOLVED, Level, State, Verb, Wanted
from portcullis.core.errors import Problem

app = typer.Typer(no_args_is_help=True)
app.add_typer(alert_rules.app, name="rules", help="The rules: list, check, test.")
Id = Annotated[str, typer.Argument(metavar="ID", help="The alert's id.")]
SilenceId = Annotated[str, typer.Argument(metavar="ID", help="The silence's id.")]
Reason = Annotated[
    str, typer.Option(help="Why, in one line; it stays in the log, so it names no person.")
]
_ID: Final = re.compile(r"[0-9a-zA-Z-]{1,64}")
_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command("list")
def list_alerts(
    *,
    everything: Annotated[
        bool, typer.Option("--all/--unresolved", help="Also what is resolved.")
    ] = False,
    level: Annotated[Level | None, typer.Option(help="Only this level and higher.")] = None,
    rule: Annotated[str, typer.Option(help="Only this rule's.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List alerts, the newest first."""
    wanted = Wanted(states=tuple(State) if everything else UNRESOLVED, level=level, rule=rule)
    with operations(load(config)) as work:
        for one in _all(work, wanted):
            if json:
                print_json(one.model_dump(mode="json"))
            else:
                print(_row(one))


@app.command()
def show(alert: Id, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Show an alert: what raised it, the events behind it, what to do."""
    with operations(load(config)) as work:
        found = work.alerting.show(_checked(alert))
    if json:
        print_json(found.model_dump(mode="json"))
        return
    print(_row(found))
    for name, value in _lines(found):
        if value:
            print(f"{name:14} {clean(value)}")


@app.command()
def ack(
    alert: Id, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """Acknowledge an alert: somebody looks after it."""
    with operations(load(config)) as work:
        done = work.alerting.settle(_checked(alert), Verb.ACKNOWLEDGE, line(reason))
    _tell(done, as_json=json)


@app.command()
def resolve(
    alert: Id, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """Resolve an alert: what it is about is over. What happens again is another one."""
    with operations(load(config)) as work:
        done = work.alerting.settle(_checked(alert), Verb.RESOLVE, line(reason))
    _tell(done, as_json=json)


@app.command()
def silence(
    rule: Annotated[str, typer.Argument(help="A rule's name, or a glob of names.")],
    lasting: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 5d.")],
    reason: Reason,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Only what is about this, such as principal=NAME; repeatable."),
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Have nobody told of some alerts for a while. They are raised and listed all the same.

    Rules that must not be missed (kills, quarantine, faults of the log) are silenced by their own
    name only, never by a glob.
    """
    if re.fullmatch(RULE, rule) is None:
        raise Problem("PC7004", "a rule is of a-z, 0-9 and -, or a glob with * and ?")
    span = _SPAN.fullmatch(lasting)
    if span is None:
        raise Problem("PC7004", "--for is a number with s, m, h or d, such as 2h")
    seconds = int(span[1]) * _SECONDS[span[2]]
    matching = dict(_pair(one) for one in by or ())
    with operations(load(config)) as work:
        made = work.alerting.silence(rule, matching, seconds, line(reason))
    if json:
        print_json(made.model_dump(mode="json"))
    else:
        print(_silence(made))


@app.command()
def silences(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the silences in force, by when they end."""
    with operations(load(config)) as work:
        found = work.alerting.silences().silences
    for one in found:
        if json:
            print_json(one.model_dump(mode="json"))
        else:
            print(_silence(one))


@app.command()
def unsilence(
    one: SilenceId, reason: Reason, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """End a silence before its time."""
    with operations(load(config)) as work:
        work.alerting.unsilence(_checked(one), line(reason))
    note(f"ended: {clean(one)}")
    if json:
        print_json({"id": one, "state": "ended"})


def _all(work: Operations, wanted: Wanted) -> Iterator[AlertView]:
    cursor = ""
    while True:
        page = work.alerting.list(wanted, cursor)
        yield from page.alerts
        cursor = page.following
        if not cursor:
            return


def _checked(given: str) -> str:
    if _ID.fullmatch(given) is None:
        raise Problem("PC7004", "an id is of letters, digits and -")
    return given


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name or not value:
        raise Problem("PC7004", "--by is FIELD=VALUE, such as principal=helper-7")
    return name, value


def _tell(done: AlertView, *, as_json: bool) -> None:
    note(f"{done.state}: {done.id}")
    if as_json:
        print_json(done.model_dump(mode="json"))


def _group(group: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in group.items())


def _row(one: AlertView) -> str:
    times = "" if one.count == 1 else f"  {one.count} events"
    quiet = "  silenced" if one.silence else ""
    row = f"{one.id}  {one.level:13} {one.state:12} {moment(one.last_at)}  {one.rule}"
    return clean(f"{row}  {_group(one.group)}{times}{quiet}".rstrip())


def _lines(one: AlertView) -> tuple[tuple[str, str], ...]:
    by = one.by or "its rule"
    settled = f"{by}, {moment(one.settled_at)}: {one.reason}" if one.settled_at else ""
    return (
        ("title", one.title),
        ("first event", moment(one.first_at)),
        ("raised", moment(one.opened_at)),
        (one.state, settled),
        ("escalated", f"{one.escalated} times" if one.escalated > 1 else "once" * one.escalated),
        ("silence", one.silence),
        ("what to do", one.advice),
        ("playbook", one.playbook),
        ("threat", one.threat),
        ("events", " ".join(one.events)),
        ("to look", f"portcullis audit show {one.events[-1]}" if one.events else ""),
    )


def _silence(one: SilenceView) -> str:
    about = _group(one.matching) or "everybody"
    row = f"{one.id}  until {moment(one.until)}  {one.rule}  {about}  by {one.by}: {one.reason}"
    return clean(row)
