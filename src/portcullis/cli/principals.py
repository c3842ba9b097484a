"""What the nouns ``agent``, ``application`` and ``operator`` share: names, printing, tokens."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from portcullis.cli.operate import Operations, operations
from portcullis.config import NAME, load
from portcullis.core.errors import Problem
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import Minted

Name = Annotated[str, typer.Argument(help="Its name: a-z, 0-9, - and _.")]
Owner = Annotated[
    str, typer.Option(help="The team that answers for it; it stands in the log in clear.")
]
Ttl = Annotated[
    int | None, typer.Option(min=1, help="The token's lifetime in seconds; default: configured.")
]

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,127}")


def create(
    config: Path,
    kind: PrincipalKind,
    name: str,
    *,
    owner: str,
    ttl: int | None,
    roles: tuple[str, ...] = (),
    as_json: bool,
) -> None:
    """Register a principal, mint its first token, and print that."""
    _check_name(name)
    if _OWNER.fullmatch(owner) is None:
        raise Problem("PC7004", "--owner is 1 to 128 letters, digits, spaces and . _ @ / -")
    with operations(load(config)) as work:
        record = work.create(kind, name, owner=owner, roles=roles)
        sys.stderr.write(f"{kind} {name} registered, owned by {owner}\n")
        _print_token(record, work.mint(kind, name, ttl=ttl), as_json=as_json)


def token(config: Path, kind: PrincipalKind, name: str, *, ttl: int | None, as_json: bool) -> None:
    """Mint a fresh token and print it."""
    _check_name(name)
    with operations(load(config)) as work:
        record = work.get(kind, name)
        _print_token(record, work.mint(kind, name, ttl=ttl), as_json=as_json)


def show(config: Path, kind: PrincipalKind, name: str, *, as_json: bool) -> None:
    """Print one principal."""
    _check_name(name)
    with operations(load(config)) as work:
        record = work.get(kind, name)
    if as_json:
        print(json.dumps(msgspec.to_builtins(record)))
        return
    for field, value in _fields(record):
        print(f"{field:8} {value}")


def print_list(config: Path, kind: PrincipalKind, *, as_json: bool) -> None:
    """Print all principals of a kind."""
    with operations(load(config)) as work:
        records = work.list(kind)
    if as_json:
        print(json.dumps([msgspec.to_builtins(record) for record in records]))
        return
    if not records:
        sys.stderr.write(f"no {kind}s yet\n")
    for record in records:
        roles = ",".join(record.roles)
        print(f"{record.id:40} {record.state:8} {record.owner:24} {roles}".rstrip())


def set_state(config: Path, kind: PrincipalKind, name: str, state: str, *, as_json: bool) -> None:
    """Disable or enable a principal."""
    _check_name(name)
    with operations(load(config)) as work:
        record = work.set_state(kind, name, state)
    sys.stderr.write(f"{kind} {name} is {record.state}\n")
    if as_json:
        print(json.dumps(msgspec.to_builtins(record)))


def mint(work: Operations, kind: PrincipalKind, name: str, *, ttl: int) -> str:
    """A short-lived token for a command's own use."""
    _check_name(name)
    return work.mint(kind, name, ttl=ttl).token


def _check_name(name: str) -> None:
    if re.fullmatch(NAME.removeprefix("^").removesuffix("$"), name) is None:
        raise Problem("PC7004", "a name is 1 to 63 of a-z, 0-9, - and _, not beginning with - or _")


def _print_token(record: PrincipalRecord, minted: Minted, *, as_json: bool) -> None:
    until = datetime.fromtimestamp(minted.expires_at, UTC).isoformat()
    if as_json:
        value = msgspec.to_builtins(record) | {
            "token": minted.token,
            "credential": minted.id,
            "expires_at": minted.expires_at,
        }
        print(json.dumps(value))
        return
    sys.stderr.write(f"token valid until {until}; renew it at POST /v1/token\n")
    print(minted.token)


def _fields(record: PrincipalRecord) -> list[tuple[str, str]]:
    created = datetime.fromtimestamp(record.created_at, UTC).isoformat(timespec="seconds")
    fields = [("name", record.id), ("state", record.state), ("owner", record.owner)]
    if record.roles:
        fields.append(("roles", ", ".join(record.roles)))
    return [*fields, ("created", created)]
