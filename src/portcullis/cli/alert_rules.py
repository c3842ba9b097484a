"""``portcullis alert rules``: the rules, whether they can be read, and what a log would raise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from portcullis.audit.export.source import event_of
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.principals import moment
from portcullis.config import load
from portcullis.core.alert import Ended, Found, Raised, subject
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.oversight.alerts.builtin import builtin, rules, sources
from portcullis.oversight.alerts.engine import Engine
from portcullis.oversight.alerts.loader import load as load_rules
from portcullis.oversight.alerts.rule import Rule

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_rules(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the rules that are in force: the built-in ones and your own."""
    there = {rule.name: rule for rule in builtin()}
    for rule in rules(load(config).alerts.rules):
        own = there.get(rule.name) is not rule
        if json:
            print_json(_view(rule) | {"own": own})
            continue
        kept = "  must be named to be silenced" if rule.kept else ""
        print(f"{rule.name:22} {rule.level:13} {rule.title}{'  own' if own else ''}{kept}")


@app.command()
def check(
    place: Annotated[
        Path | None, typer.Argument(help="A file or a folder; default: the configured one.")
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Read rules and say what is wrong with them, with file and line."""
    found = rules(load(config).alerts.rules) if place is None else load_rules(sources(place))
    note(f"{len(found)} rules can be read")
    if json:
        print_json({"rules": [rule.name for rule in found]})


@app.command("test")
def replay(
    place: Annotated[Path, typer.Argument(help="A file or a folder of rules.")],
    events: Annotated[
        Path, typer.Option(help="A log's folder, or a file with one event as JSON in each line.")
    ],
    *,
    json: Json = False,
) -> None:
    """Replay a log and say what rules of yours would have raised. Nobody is told."""
    engine = Engine(load_rules(sources(place)))
    seen = count = 0
    for event in _events(events):
        seen += 1
        for found in engine.look(event):
            count += isinstance(found, Raised)
            if json:
                print_json(msgspec.to_builtins(found) | {"subject": subject(found.group)})
            else:
                print(clean(_row(found)))
    note(f"{seen} events, raised {count} times")


def _row(found: Found) -> str:
    about = subject(found.group)
    if isinstance(found, Ended):
        return f"{moment(found.at)}  {'over':13} {found.rule}  {about}".rstrip()
    times = "" if found.count == 1 else f"  {found.count} events"
    return f"{moment(found.at)}  {found.level:13} {found.rule}  {about}{times}".rstrip()


def _events(place: Path) -> Iterator[Event]:
    """In the log's order. Problem PC7005 when there is no such log or file."""
    if place.is_dir():
        for record in records(place, own_verifier(place)):
            yield record.event
        return
    try:
        with place.open("rb") as lines:
            for number, one in enumerate(lines, 1):
                if one.strip():
                    yield _event(place, number, one)
    except OSError as error:
        raise Problem("PC7005", f"cannot read {place}: {error.strerror}") from None


def _event(place: Path, number: int, entry: bytes) -> Event:
    try:
        return event_of(entry.strip())
    except Problem:
        raise Problem("PC7005", f"{place}:{number}: not an event") from None


def _view(rule: Rule) -> dict[str, object]:
    how = rule.correlation
    return {
        "rule": rule.name,
        "title": rule.title,
        "level": rule.level.value,
        "description": rule.description,
        "threat": rule.threat,
        "playbook": rule.playbook,
        "advice": rule.advice,
        "false_positives": list(rule.false_positives),
        "group_by": list(how.by if how else rule.by),
        "kept": rule.kept,
        "quiet": rule.quiet,
        "ends": rule.over is not None,
    }
