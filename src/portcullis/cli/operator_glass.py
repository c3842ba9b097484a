"""``portcullis operator break-glass`` and what follows: rights for a while, and a review."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from portcullis.cli import principals
from portcullis.cli.asking import asked
from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.audit_lines import second as moment
from portcullis.cli.audit_privacy import line
from portcullis.cli.operate import call, operations, running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import load
from portcullis.control.break_glass_api import GlassTokenView, GlassView
from portcullis.core.break_glass import Judgement
from portcullis.core.errors import Problem

Id = Annotated[str, typer.Argument(metavar="ID", help="See `portcullis operator glass`.")]
Reason = Annotated[str, typer.Option(help="Why, in one line; it stays in the log.")]


def break_glass(
    name: principals.Name,
    reason: Reason,
    minutes: Annotated[int, typer.Option(min=1, max=720, help="For how long.")] = 60,
    password: Annotated[
        str | None, typer.Option(help="The password as env:NAME or file:PATH; default: ask.")
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="The one-time code as env:NAME or file:PATH; default: ask.")
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Take more rights for a while and print their token; all are told, and it is reviewed."""
    principals.check_name(name)
    gate = running_gate(load(config))
    if gate is None:
        hint = "Start it with `portcullis up`."
        raise Problem("PC7005", "the glass is at a gate, and none runs here", hint=hint)
    body = {
        "name": name,
        "password": asked("--password", "Password", password),
        "code": asked("--code", "One-time code", code),
        "reason": line(reason),
        "minutes": minutes,
    }
    found = call(gate.control, "POST", "/api/v1/login/break-glass", body=body)
    view = GlassTokenView.model_validate(found)
    if json:
        print_json(view.model_dump(mode="json"))
        return
    until = moment(view.glass.ends_at)
    note(f"{', '.join(view.glass.roles)} until {until}; all of it is on record as {view.glass.id}")
    print(view.token)


def glass(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List who broke the glass: why, until when, and what the review said."""
    with operations(load(config)) as work:
        found = work.glass.list()
    if json:
        print_json(found.model_dump(mode="json"))
        return
    for one in found.broken:
        print(_row(one))


def end_glass(glass_id: Id, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Take such rights away before their time."""
    with operations(load(config)) as work:
        done = work.glass.end(_checked(glass_id))
    _tell(done, "ended", as_json=json)


def review_glass(
    glass_id: Id,
    reason: Reason,
    *,
    unjustified: Annotated[
        bool, typer.Option("--unjustified", help="It should not have been broken.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Review what somebody else did with such rights, which closes it."""
    judgement: Judgement = "unjustified" if unjustified else "justified"
    with operations(load(config)) as work:
        done = work.glass.review(_checked(glass_id), judgement, line(reason))
    _tell(done, f"reviewed: {judgement}", as_json=json)


def _row(one: GlassView) -> str:
    said = (
        f"{one.id}  {one.operator}  {moment(one.began_at)} to {moment(one.ended_at or one.ends_at)}"
    )
    found = f"{one.judgement}, {one.closed_by}: {one.note}" if one.closed_at else "NOT REVIEWED"
    return clean(f"{said}  {','.join(one.roles)}  {found}  because: {one.reason}")


def _checked(glass_id: str) -> str:
    if not glass_id.isascii() or not glass_id.isalnum():
        raise Problem("PC7004", "the id is letters and digits")
    return glass_id


def _tell(done: GlassView, what: str, *, as_json: bool) -> None:
    sys.stderr.write(f"{done.id} {what}\n")
    if as_json:
        print_json(done.model_dump(mode="json"))
