"""``portcullis breaker``: circuit breakers that are open, and closing them by hand."""

from __future__ import annotations

import json as codec
import re
import sys
from typing import Annotated

import typer

from portcullis.cli import principals
from portcullis.cli.audit_privacy import Reason, line
from portcullis.cli.operate import operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import load
from portcullis.control.breakers_api import BREAKER
from portcullis.core.errors import Problem

app = typer.Typer(no_args_is_help=True)


@app.callback()
def breaker() -> None:
    """Circuit breakers that are open, and closing them by hand."""


@app.command("list")
def list_all(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the breakers that are not closed, of every gateway."""
    with operations(load(config)) as work:
        found = work.breakers()
    if json:
        print(codec.dumps([one.model_dump() for one in found.breakers]))
        return
    if not found.breakers:
        sys.stderr.write("all breakers are closed\n")
    for one in found.breakers:
        where = f" at {one.gateway}" if one.gateway else ""
        word = one.state.replace("_", "-")
        print(f"{one.name:40} {word:9} until {principals.moment(one.until)}{where}: {one.reason}")


@app.command()
def reset(
    name: Annotated[
        str, typer.Argument(help="As `list` shows it: agent:NAME, upstream:NAME[/AGENT].")
    ],
    reason: Reason,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Close a breaker in every gateway, and forget what it had counted."""
    if re.fullmatch(BREAKER, name) is None:
        raise Problem("PC7004", "a breaker is agent:NAME, upstream:NAME or upstream:NAME/AGENT")
    with operations(load(config)) as work:
        done = work.close_breaker(name, line(reason))
    sys.stderr.write(f"breaker {name} is closed\n")
    if json:
        print(codec.dumps(done.model_dump()))
