"""``quarantine`` and ``release``, the verbs that the nouns ``agent`` and ``session`` share."""

from __future__ import annotations

import json as codec
import re
import sys
from typing import Annotated

import typer

from portcullis.cli.audit_privacy import Reason, line
from portcullis.cli.operate import operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import NAME, load
from portcullis.core.errors import Problem
from portcullis.core.feed import IsolationScope

Value = Annotated[str, typer.Argument(metavar="WHO", help="The agent's name, or the session's id.")]


def add_to(app: typer.Typer, scope: IsolationScope) -> None:
    """Give a noun the two verbs."""

    @app.command(help=f"Isolate the {scope} at once: only what policy's quarantine lists goes on.")
    def quarantine(
        value: Value,
        reason: Reason,
        *,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        with operations(load(config)) as work:
            work.quarantine(scope, _checked(value), line(reason))
        sys.stderr.write(f"{scope} {value} is in quarantine\n")
        if json:
            print(codec.dumps({"scope": scope, "value": value, "state": "quarantined"}))

    @app.command(help=f"Let the {scope} out of quarantine.")
    def release(
        value: Value,
        reason: Reason,
        *,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        with operations(load(config)) as work:
            work.let_out(scope, _checked(value), line(reason))
        sys.stderr.write(f"{scope} {value} is out of quarantine\n")
        if json:
            print(codec.dumps({"scope": scope, "value": value, "state": "released"}))


def _checked(value: str) -> str:
    if re.fullmatch(NAME.removeprefix("^").removesuffix("$"), value) is None:
        raise Problem("PC7004", "a name or an id is 1 to 63 of a-z, 0-9, - and _")
    return value
