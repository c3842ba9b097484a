"""``portcullis operator``: the people who run this deployment."""

from __future__ import annotations

from typing import Annotated

import typer

from portcullis.cli import principals
from portcullis.cli.nouns import noun
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.control.principals import ROLES
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind

_KIND = PrincipalKind.OPERATOR

app = noun(_KIND)


@app.command()
def add(
    name: principals.Name,
    owner: principals.Owner,
    role: Annotated[list[str], typer.Option(help=f"One of {', '.join(ROLES)}; repeatable.")],
    *,
    ttl: principals.Ttl = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Register an operator and print a first token."""
    if not set(ROLES).issuperset(role):
        raise Problem("PC7004", f"--role must be one of {', '.join(ROLES)}")
    principals.create(config, _KIND, name, owner=owner, ttl=ttl, roles=tuple(role), as_json=json)
