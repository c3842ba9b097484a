"""The verbs that ``agent``, ``application`` and ``operator`` have in common."""

from __future__ import annotations

import typer

from portcullis.cli import principals
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.core.principal import PrincipalKind


def noun(kind: PrincipalKind) -> typer.Typer:
    """``list``, ``show``, ``token``, ``disable`` and ``enable`` for one kind of principal."""
    app = typer.Typer(no_args_is_help=True)

    @app.command("list", help=f"List all {kind}s.")
    def list_all(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
        principals.print_list(config, kind, as_json=json)

    @app.command(help=f"Show one {kind}.")
    def show(
        name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
    ) -> None:
        principals.show(config, kind, name, as_json=json)

    @app.command(help="Mint a fresh token and print it.")
    def token(
        name: principals.Name,
        *,
        ttl: principals.Ttl = None,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        principals.token(config, kind, name, ttl=ttl, as_json=json)

    @app.command(help=f"Cut an {kind} off, from its next request on.")
    def disable(
        name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
    ) -> None:
        principals.set_state(config, kind, name, "disabled", as_json=json)

    @app.command(help=f"Let a disabled {kind} act again.")
    def enable(
        name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
    ) -> None:
        principals.set_state(config, kind, name, "active", as_json=json)

    return app


def workload(kind: PrincipalKind) -> typer.Typer:
    """The verbs of a program: those of every noun, and ``create``."""
    app = noun(kind)

    @app.command(help=f"Register an {kind} and print its first token.")
    def create(
        name: principals.Name,
        owner: principals.Owner,
        *,
        ttl: principals.Ttl = None,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        principals.create(config, kind, name, owner=owner, ttl=ttl, as_json=json)

    return app
