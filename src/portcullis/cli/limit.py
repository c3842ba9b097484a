"""``portcullis limit``: what is left of limits, for whom, and when they are whole again."""

from __future__ import annotations

import json as codec
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from portcullis.bootstrap import authority_of
from portcullis.cli.operate import running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.principals import moment
from portcullis.cli.remote import Remote
from portcullis.config import load
from portcullis.control.limits_shapes import LimitLeft
from portcullis.core.errors import Problem
from portcullis.core.limits import MICROS

app = typer.Typer(no_args_is_help=True)

_COST = "cost"
Agent = Annotated[str, typer.Option(help="Only what counts for this agent alone.")]
User = Annotated[str, typer.Option(help="Only what counts for this user alone.")]


@app.command("list")
def list_limits(
    *,
    agent: Agent = "",
    user: User = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List what is counted for all limits of the policy in force."""
    _print(config, "", agent, user, as_json=json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The limit's name in the policy.")],
    *,
    agent: Agent = "",
    user: User = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Show what is counted for one limit."""
    _print(config, name, agent, user, as_json=json)


def _print(config: Path, name: str, agent: str, user: str, *, as_json: bool) -> None:
    found = 0
    for one in _all(config, name, agent, user):
        found += 1
        print(codec.dumps(one.model_dump()) if as_json else _row(one))
    if not found:
        sys.stderr.write("nothing is counted: nobody has used any of it yet\n")


def _all(config: Path, name: str, agent: str, user: str) -> Iterator[LimitLeft]:
    settings = load(config)
    gate = running_gate(settings)
    if gate is None:
        hint = "Start it with `portcullis up`."
        raise Problem("PC7005", "what is left is known to a gate, and none runs here", hint=hint)
    work, cursor = Remote(gate.control, authority_of(settings)), ""
    while True:
        page = work.limits(name=name, agent=agent, user=user, cursor=cursor)
        yield from page.limits
        cursor = page.following
        if not cursor:
            return


def _row(one: LimitLeft) -> str:
    what = f"{one.measure}/{one.window}" if one.window else one.measure
    whose = " ".join(f"{key}={value}" for key, value in one.whose.items()) or "all"
    left = f"{_shown(one, one.left)} of {_shown(one, one.ceiling)} left"
    until = "" if one.measure == "concurrency" else f", whole at {moment(one.resets_at)}"
    return f"{one.limit:20} {what:22} {whose:32} {left}{until}"


def _shown(one: LimitLeft, number: int) -> str:
    return f"{number / MICROS:.2f} USD" if one.measure == _COST else str(number)
