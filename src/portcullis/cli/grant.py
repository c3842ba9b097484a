"""``portcullis grant``: what users granted at upstreams, asked of the gate that runs.

Only a running gate can tell an authorization server that a grant has ended.
"""

from __future__ import annotations

import json as codec
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import typer

from portcullis.bootstrap import authority_of
from portcullis.cli.audit_lines import clean
from portcullis.cli.audit_privacy import line
from portcullis.cli.operate import call, local_operator, running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.principals import moment
from portcullis.cli.remote_call import TOKEN_SECONDS
from portcullis.config import load
from portcullis.control.connections_api import GrantList, GrantView, RevokedView
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

app = typer.Typer(no_args_is_help=True)

_NO_ROUTE: Final = "PC1010"
"""What a gate answers that has no upstream with ``oauth``: it has no route for grants."""

Upstream = Annotated[str, typer.Option(help="Only those of this upstream.")]
Application = Annotated[str, typer.Option(help="Only those of this application's users.")]
User = Annotated[str, typer.Option(help="Only those of this user.")]


@app.command("list")
def list_grants(
    *,
    upstream: Upstream = "",
    application: Application = "",
    user: User = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List what users granted, without any token."""
    found = _grants(_gate(config), upstream, application, user)
    for one in found:
        print(codec.dumps(one.model_dump()) if json else _row(one))
    if not found:
        sys.stderr.write("nobody has connected an account\n")


@app.command()
def revoke(
    grant: Annotated[
        str, typer.Argument(help="The grant's id; without it, all that is asked.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why, in one line that names no person.")] = "",
    *,
    upstream: Upstream = "",
    application: Application = "",
    user: User = "",
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """End a grant, or all grants of a user, an application or an upstream.

    They serve no call from then on, and their authorization servers are told, where they can be.
    """
    if bool(grant) == bool(upstream or application or user):
        raise Problem("PC7004", "give a grant's id, or --user, --application or --upstream")
    why, ask = line(reason), _gate(config)
    ids = [grant] if grant else [one.id for one in _grants(ask, upstream, application, user)]
    for one in ids:
        done = RevokedView.model_validate(ask("POST", f"/grants/{one}/revoke", {"reason": why}))
        if json:
            print(codec.dumps(done.model_dump()))
        else:
            told = "" if done.server_told else "; its authorization server was NOT told"
            print(f"revoked {clean(done.id)}{told}")
    if not ids:
        sys.stderr.write("there is none\n")


def _gate(config: Path) -> Callable[..., Any]:
    settings = load(config)
    gate = running_gate(settings)
    if gate is None:
        hint = "Start it with `portcullis up`."
        raise Problem("PC7005", "grants are seen to by a gate, and none runs here", hint=hint)
    minted = authority_of(settings).mint(
        PrincipalKind.OPERATOR, local_operator(), ttl=TOKEN_SECONDS, roles=("admin",)
    )

    def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            return call(gate.control, method, f"/api/v1{path}", minted.token, body)
        except Problem as problem:
            if problem.code != _NO_ROUTE:
                raise
            hint = "See docs/on-behalf.md: `oauth` of an upstream."
            raise Problem("PC7005", "no upstream of the gate takes tokens", hint=hint) from None

    return ask


def _grants(ask: Callable[..., Any], upstream: str, application: str, user: str) -> list[GrantView]:
    given = {"upstream": upstream, "application": application, "user": user}
    query = urlencode({name: value for name, value in given.items() if value})
    return GrantList.model_validate(ask("GET", f"/grants?{query}")).grants


def _row(one: GrantView) -> str:
    account = f" as {one.account}" if one.account else ""
    who = f"{one.user} of {one.application}{account}"
    return clean(f"{one.id}  {one.upstream:16} {who}  since {moment(one.created_at)}")
