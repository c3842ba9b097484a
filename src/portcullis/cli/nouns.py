"""The verbs that ``agent``, ``application`` and ``operator`` have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from portcullis.cli import principals
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.control.entries import JOIN_SECONDS, LONGEST_JOIN
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind


def noun(kind: PrincipalKind) -> typer.Typer:
    """``list``, ``show``, ``suspend``, ``resume`` and ``rotate`` for one kind of principal."""
    app = typer.Typer(no_args_is_help=True)

    @app.command("list", help=f"List all {kind}s.")
    def list_all(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
        principals.print_list(config, kind, as_json=json)

    @app.command(help=f"Show one {kind}.")
    def show(
        name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
    ) -> None:
        principals.show(config, kind, name, as_json=json)

    @app.command(help=f"Cut an {kind} off at once, until it is resumed.")
    def suspend(
        name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
    ) -> None:
        principals.change(config, kind, name, Verb.SUSPEND, as_json=json)

    @app.command(help=f"Let a suspended {kind} act again.")
    def resume(
        name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
    ) -> None:
        principals.change(config, kind, name, Verb.RESUME, as_json=json)

    @app.command(help=f"Make every credential of an {kind} worthless; it may get new ones.")
    def rotate(
        name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
    ) -> None:
        principals.rotate(config, kind, name, as_json=json)

    return app


def workload(kind: PrincipalKind) -> typer.Typer:
    """The verbs of a program: those of every noun, its life, and how it gets its identity."""
    app = noun(kind)

    @app.command(help=f"Register an {kind}.")
    def create(
        name: principals.Name,
        owner: principals.Owner,
        purpose: Annotated[
            str, typer.Option(help="What it is for; it stands in the log in clear.")
        ],
        review: principals.Review = None,
        spiffe_id: Annotated[
            str, typer.Option(help="An identity of another trust domain that also stands for it.")
        ] = "",
        *,
        ttl: principals.Ttl = None,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        principals.create(
            config,
            kind,
            name,
            owner=owner,
            purpose=purpose,
            review=review,
            spiffe_id=spiffe_id,
            ttl=ttl,
            as_json=json,
        )

    @app.command(help="Mint a token that is bound to no key (tokens.bearer: loopback).")
    def token(
        name: principals.Name,
        *,
        ttl: principals.Ttl = None,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        principals.token(config, kind, name, ttl=ttl, as_json=json)

    @app.command(help=f"Cut an {kind} off at once and for ever; its name is not given out again.")
    def revoke(
        name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
    ) -> None:
        principals.change(config, kind, name, Verb.REVOKE, as_json=json)

    @app.command(help="Review it: it lives on until the next review.")
    def review(
        name: principals.Name,
        until: principals.Review = None,
        *,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        principals.change(config, kind, name, Verb.REVIEW, review=until, as_json=json)

    @app.command(help=f"Let the workloads that have all selectors be this {kind}.")
    def register(
        name: principals.Name,
        selector: Annotated[
            list[str], typer.Option(help="Such as unix:uid:1000 or k8s:sa:shop; repeatable.")
        ],
        *,
        ttl: Annotated[int, typer.Option(min=0, help="Longest life of its SVIDs, seconds.")] = 0,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        principals.register(config, kind, name, tuple(selector), ttl, as_json=json)

    @app.command(help="Remove a registration entry, by its id.")
    def unregister(
        entry: Annotated[str, typer.Argument(help="The entry's id, from `show`.")],
        *,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        principals.unregister(config, entry, as_json=json)

    @app.command(help="Print a join token: one workload, once, becomes it.")
    def join(
        name: principals.Name,
        *,
        ttl: Annotated[
            int, typer.Option(min=1, max=LONGEST_JOIN, help="How long it is good, seconds.")
        ] = JOIN_SECONDS,
        config: ConfigFile = DEFAULT_CONFIG,
        json: Json = False,
    ) -> None:
        principals.join(config, kind, name, ttl, as_json=json)

    return app
