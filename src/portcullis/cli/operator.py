"""``portcullis operator``: the people who run this deployment."""

from __future__ import annotations

from typing import Annotated

import typer

from portcullis.cli import principals
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.control.principals import ROLES
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind

app = typer.Typer(no_args_is_help=True)

_KIND = PrincipalKind.OPERATOR


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


@app.command("list")
def list_all(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List all operators."""
    principals.print_list(config, _KIND, as_json=json)


@app.command()
def token(
    name: principals.Name,
    *,
    ttl: principals.Ttl = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Mint a fresh token and print it."""
    principals.token(config, _KIND, name, ttl=ttl, as_json=json)


@app.command()
def disable(name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Cut an operator off, from the next request on."""
    principals.set_state(config, _KIND, name, "disabled")


@app.command()
def enable(name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Let a disabled operator act again."""
    principals.set_state(config, _KIND, name, "active")
