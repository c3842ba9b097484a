"""``portcullis agent``: register agents and mint their tokens."""

from __future__ import annotations

import typer

from portcullis.cli import principals
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.core.principal import PrincipalKind

app = typer.Typer(no_args_is_help=True)

_KIND = PrincipalKind.AGENT


@app.command()
def create(
    name: principals.Name,
    owner: principals.Owner,
    *,
    ttl: principals.Ttl = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Register an agent and print its first token."""
    principals.create(config, _KIND, name, owner=owner, ttl=ttl, as_json=json)


@app.command("list")
def list_all(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List all agents."""
    principals.print_list(config, _KIND, as_json=json)


@app.command()
def show(name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Show one agent."""
    principals.show(config, _KIND, name, as_json=json)


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
    """Cut an agent off, from its next request on."""
    principals.set_state(config, _KIND, name, "disabled")


@app.command()
def enable(name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Let a disabled agent act again."""
    principals.set_state(config, _KIND, name, "active")
