"""``portcullis operator``: the people who run this deployment."""

from __future__ import annotations

import json as codec
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from portcullis.cli import operator_glass, principals
from portcullis.cli.asking import asked, typed
from portcullis.cli.nouns import noun
from portcullis.cli.operate import Operations, call, operations, running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.references import resolved
from portcullis.config import load
from portcullis.control.shapes import TokenView
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import BUILT_IN, MEANING
from portcullis.identity.passwords import SHORTEST

_KIND = PrincipalKind.OPERATOR

Role = Annotated[
    list[str],
    typer.Option(help=f"{', '.join(BUILT_IN)}, or one of the configuration's; repeatable."),
]
Users = Annotated[
    list[str] | None,
    typer.Option(
        "--is", help="A name that applications know this person by as a user; repeatable."
    ),
]
Password = Annotated[
    str | None, typer.Option(help="The password as env:NAME or file:PATH; default: ask.")
]

app = noun(_KIND)
app.command("break-glass")(operator_glass.break_glass)
app.command("glass")(operator_glass.glass)
app.command("end-glass")(operator_glass.end_glass)
app.command("review-glass")(operator_glass.review_glass)


@app.command()
def add(
    name: principals.Name,
    owner: principals.Owner,
    role: Role,
    password: Password = None,
    user: Users = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Register an operator with a password, and print the URI for an authenticator app, once."""
    principals.check_owner(name, owner)
    _check(config, role)
    chosen = _new(password)
    with operations(load(config)) as work:
        record = work.create(_KIND, name, owner=owner, roles=tuple(role), users=tuple(user or ()))
        sys.stderr.write(f"operator {name} registered, owned by {owner}\n")
        _enrol(work, name, chosen, as_json=json, more={"kind": "operator", "id": record.id})


@app.command("password")
def set_password(
    name: principals.Name,
    password: Password = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Set a new password and authenticator secret; tokens of the old ones are worthless."""
    principals.check_name(name)
    chosen = _new(password)
    with operations(load(config)) as work:
        _enrol(work, name, chosen, as_json=json, more={})


@app.command()
def role(
    name: principals.Name, role: Role, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """Give an operator other roles; its tokens are worthless from then on."""
    principals.check_name(name)
    _check(config, role)
    with operations(load(config)) as work:
        record = work.set_roles(name, tuple(role))
    sys.stderr.write(f"operator {name} is {', '.join(record.roles)}\n")
    principals.print_record(record, as_json=json)


@app.command()
def roles(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """List the roles that operators can have here, and what each may."""
    settings = load(config)
    known = settings.operator_roles
    given = {name: sorted(known.given((name,))) for name in known.names}
    if json:
        print(codec.dumps(given))
        return
    for name, rights in given.items():
        one = settings.roles.get(name)
        print(f"{name}: {one.about}" if one is not None and one.about else name)
        for right in rights:
            print(f"  {right:20} {MEANING[right]}")


@app.command("is")
def known_as(
    name: principals.Name,
    user: Annotated[
        list[str] | None, typer.Argument(help="Names that the operator has as a user; none: none.")
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Say by which names applications know an operator as a user: nobody approves his own."""
    principals.check_name(name)
    with operations(load(config)) as work:
        record = work.set_users(name, tuple(user or ()))
    sys.stderr.write(f"operator {name} is known by {len(record.users)} names as a user\n")
    principals.print_record(record, as_json=json)


@app.command()
def remove(
    name: principals.Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """Cut an operator off at once and for ever; the name is not given out again."""
    principals.change(config, _KIND, name, Verb.REVOKE, as_json=json)


@app.command()
def login(
    name: Annotated[str, typer.Argument(help="Your name; not needed with --id-token.")] = "",
    password: Password = None,
    code: Annotated[
        str | None, typer.Option(help="The one-time code as env:NAME or file:PATH; default: ask.")
    ] = None,
    id_token: Annotated[
        str | None, typer.Option(help="Your issuer's ID token, as env:NAME or file:PATH.")
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Log in at the gate that runs, and print your token."""
    settings = load(config)
    gate = running_gate(settings)
    if gate is None:
        hint = "Start it with `portcullis up`."
        raise Problem("PC7005", "operators log in at a gate, and none runs here", hint=hint)
    if id_token is not None:
        body = {"id_token": resolved("--id-token", id_token)}
    else:
        principals.check_name(name)
        body = {
            "name": name,
            "password": asked("--password", "Password", password),
            "code": asked("--code", "One-time code", code),
        }
    view = TokenView.model_validate(call(gate.control, "POST", "/api/v1/login", body=body))
    if json:
        print(codec.dumps(view.model_dump()))
        return
    sys.stderr.write(f"token valid until {principals.moment(view.expires_at)}\n")
    print(view.token)


def _enrol(
    work: Operations, name: str, password: str, *, as_json: bool, more: dict[str, Any]
) -> None:
    uri = work.password(name, password)
    if as_json:
        print(codec.dumps(more | {"otpauth": uri}))
        return
    sys.stderr.write("for an authenticator app; it is shown once and holds a secret:\n")
    print(uri)


def _check(config: Path, roles: list[str]) -> None:
    """Raise Problem PC7004 for a role that is neither built in nor in the configuration."""
    if BUILT_IN.keys() >= set(roles):
        return
    known = load(config).operator_roles
    if known.unknown(roles):
        detail = f"--role must be one of {', '.join(known.names)}"
        raise Problem("PC7004", detail, hint="Others stand under `roles` in the configuration.")


def _new(reference: str | None) -> str:
    """A new password: from a reference, or asked for twice."""
    if reference is None:
        found = typed("New password", twice=True)
    else:
        found = resolved("--password", reference)
    if len(found) < SHORTEST:
        raise Problem("PC7004", f"a password has at least {SHORTEST} characters")
    return found
