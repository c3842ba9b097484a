"""``portcullis canary``: references to plant where nobody has reason to read."""

from __future__ import annotations

import json as codec
from typing import Annotated

import typer

from portcullis.bootstrap.firewall import honey
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import load

app = typer.Typer(no_args_is_help=True)


@app.callback()
def canary() -> None:
    """Canaries: references that end the call in which they turn up."""


@app.command()
def mint(
    name: Annotated[str, typer.Argument(help="A record that `inspection.honey` names.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Print the canary to put into a record that nobody has reason to read; always the same."""
    canary = honey(load(config), name)
    print(codec.dumps({"name": name, "canary": canary}) if json else canary)
