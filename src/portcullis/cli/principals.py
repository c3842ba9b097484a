"""What the nouns ``agent``, ``application`` and ``operator`` do and print."""

from __future__ import annotations

import json
import re
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from portcullis.cli.addresses import addresses
from portcullis.cli.operate import operations
from portcullis.cli.options import DEFAULT_CONFIG
from portcullis.config import NAME, Config, load
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import Verb
from portcullis.core.ports import Entry, PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import Minted

Name = Annotated[str, typer.Argument(help="Its name: a-z, 0-9, - and _.")]
Owner = Annotated[
    str, typer.Option(help="The team that answers for it; it stands in the log in clear.")
]
Ttl = Annotated[
    int | None, typer.Option(min=1, help="The token's lifetime in seconds; default: configured.")
]
Review = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="When its review is due (UTC); default: in 90 days."),
]

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,127}")
_PURPOSE = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_SECONDS = "seconds"


def create(
    config: Path,
    kind: PrincipalKind,
    name: str,
    *,
    owner: str,
    purpose: str,
    review: datetime | None,
    spiffe_id: str,
    ttl: int | None,
    as_json: bool,
) -> None:
    """Register a program; print its first token where tokens alone are enough."""
    check_owner(name, owner)
    if _PURPOSE.fullmatch(purpose) is None:
        raise Problem("PC7004", "--purpose is one line of 1 to 200 characters")
    settings = load(config)
    bound = settings.tokens.bearer == "never"
    if bound and ttl is not None:
        raise Problem("PC7004", "--ttl is for a token, and tokens.bearer is never")
    with operations(settings) as work:
        record = work.create(
            kind,
            name,
            owner=owner,
            purpose=purpose,
            review_at=_seconds(review),
            spiffe_id=spiffe_id,
        )
        sys.stderr.write(
            f"{kind} {name} registered, owned by {owner}; review due {_day(record.review_at)}\n"
        )
        if not bound:
            _print_token(record, work.bearer(kind, name, ttl=ttl), as_json=as_json)
            return
    if as_json:
        print(json.dumps(msgspec.to_builtins(record)))
        return
    sys.stderr.write(_next(settings, config, kind, name))


def token(config: Path, kind: PrincipalKind, name: str, *, ttl: int | None, as_json: bool) -> None:
    """Mint a fresh token and print it."""
    check_name(name)
    with operations(load(config)) as work:
        record = work.get(kind, name)
        _print_token(record, work.bearer(kind, name, ttl=ttl), as_json=as_json)


def show(config: Path, kind: PrincipalKind, name: str, *, as_json: bool) -> None:
    """Print one principal, a program with its registration entries."""
    check_name(name)
    with operations(load(config)) as work:
        record = work.get(kind, name)
        entries = () if kind is PrincipalKind.OPERATOR else work.entries(kind, name)
        quarantined = kind is PrincipalKind.AGENT and any(
            (one.scope, one.value) == ("agent", name) for one in work.quarantined().quarantined
        )
    if as_json:
        value: dict[str, Any] = msgspec.to_builtins(record)
        if kind is not PrincipalKind.OPERATOR:
            value["entries"] = msgspec.to_builtins(entries)
        if kind is PrincipalKind.AGENT:
            value["quarantined"] = quarantined
        print(json.dumps(value))
        return
    fields = _fields(record) + ([("in", "quarantine")] if quarantined else [])
    for field, text in (*fields, *(("entry", _line(entry)) for entry in entries)):
        print(f"{field:8} {text}")


def print_list(config: Path, kind: PrincipalKind, *, as_json: bool) -> None:
    """Print all principals of a kind."""
    settings = load(config)
    with operations(settings) as work:
        records = work.list(kind)
    if as_json:
        print(json.dumps([msgspec.to_builtins(record) for record in records]))
        return
    if not records:
        sys.stderr.write(f"no {kind}s yet\n")
    for record in records:
        last = ",".join(record.roles) if record.roles else _day(record.review_at)
        unknown = settings.operator_roles.unknown(record.roles)
        if unknown:
            said = f"{record.id}: not configured and worth nothing: {', '.join(unknown)}\n"
            sys.stderr.write(said)
        print(f"{record.id:40} {record.state:9} {last:12} {record.owner}".rstrip())


def change(
    config: Path,
    kind: PrincipalKind,
    name: str,
    verb: Verb,
    *,
    review: datetime | None = None,
    as_json: bool,
) -> None:
    """Suspend, resume, review or revoke a principal."""
    check_name(name)
    with operations(load(config)) as work:
        record = work.change(kind, name, verb, review_at=_seconds(review))
    due = f"; review due {_day(record.review_at)}" if verb is Verb.REVIEW else ""
    sys.stderr.write(f"{kind} {name} is {record.state}{due}\n")
    print_record(record, as_json=as_json)


def rotate(config: Path, kind: PrincipalKind, name: str, *, as_json: bool) -> None:
    """Make a principal's credentials worthless."""
    check_name(name)
    with operations(load(config)) as work:
        record = work.rotate(kind, name)
    sys.stderr.write(f"every credential that {kind} {name} had is worthless\n")
    print_record(record, as_json=as_json)


def register(
    config: Path,
    kind: PrincipalKind,
    name: str,
    selectors: tuple[str, ...],
    ttl: int,
    *,
    as_json: bool,
) -> None:
    """Add a registration entry."""
    check_name(name)
    with operations(load(config)) as work:
        entry = work.register(kind, name, selectors, ttl)
    sys.stderr.write(f"workloads with {', '.join(entry.selectors)} are {kind} {name}\n")
    print(json.dumps(msgspec.to_builtins(entry)) if as_json else entry.id)


def unregister(config: Path, entry: str, *, as_json: bool) -> None:
    """Remove a registration entry."""
    if not entry.isalnum() or not entry.isascii():
        raise Problem("PC7004", "an entry's id is letters and digits")
    with operations(load(config)) as work:
        work.unregister(entry)
    sys.stderr.write(f"entry {entry} removed; what it gave lives until it expires\n")
    if as_json:
        print(json.dumps({"id": entry, "state": "removed"}))


def join(config: Path, kind: PrincipalKind, name: str, ttl: int, *, as_json: bool) -> None:
    """Print a one-time join token."""
    check_name(name)
    with operations(load(config)) as work:
        made = work.join(kind, name, ttl)
    if as_json:
        print(json.dumps({"join_token": made.token, "expires_at": made.expires_at}))
        return
    sys.stderr.write(f"join token for {kind} {name}, once and until {moment(made.expires_at)}\n")
    print(made.token)


def check_name(name: str) -> None:
    """Refuse what cannot be a name."""
    if re.fullmatch(NAME.removeprefix("^").removesuffix("$"), name) is None:
        raise Problem("PC7004", "a name is 1 to 63 of a-z, 0-9, - and _, not beginning with - or _")


def check_owner(name: str, owner: str) -> None:
    """Refuse what cannot be a name or an owner."""
    check_name(name)
    if _OWNER.fullmatch(owner) is None:
        raise Problem("PC7004", "--owner is 1 to 128 letters, digits, spaces and . _ @ / -")


def print_record(record: PrincipalRecord, *, as_json: bool) -> None:
    """Print a record for programs."""
    if as_json:
        print(json.dumps(msgspec.to_builtins(record)))


def moment(at: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec=_SECONDS)


def _next(settings: Config, config: Path, kind: PrincipalKind, name: str) -> str:
    """How a program that was registered gets its identity, from any folder of this machine."""
    file = "" if config == DEFAULT_CONFIG else f" -c {shlex.quote(str(config))}"
    said = (
        "next: say which workload it is, and the Workload API gives it its SVID:\n"
        f"  portcullis {kind} register {name} --selector unix:uid:1000{file}\n"
    )
    if settings.listen.mtls is None:
        return said
    where = addresses(settings)
    if kind is PrincipalKind.AGENT:
        said += (
            "or run it in a box whose only way out is the gate:\n"
            f"  portcullis run --agent {name}{file} -- COMMAND\n"
        )
    return (
        f"{said}or hand it a one-time join token, and run a side process for it:\n"
        f"  JOIN=$(portcullis {kind} join {name}{file}) portcullis {kind} connect {name}"
        f" --join-token env:JOIN --enrol {where.enrol} --gate {where.gate}\n"
    )


def _print_token(record: PrincipalRecord, minted: Minted, *, as_json: bool) -> None:
    if as_json:
        value = msgspec.to_builtins(record) | {
            "token": minted.token,
            "credential": minted.id,
            "expires_at": minted.expires_at,
        }
        print(json.dumps(value))
        return
    sys.stderr.write(f"token valid until {moment(minted.expires_at)}; renew it at POST /v1/token\n")
    print(minted.token)


def _seconds(day: datetime | None) -> float | None:
    return None if day is None else day.replace(tzinfo=UTC).timestamp()


def _day(at: float) -> str:
    return "never" if at == 0 else datetime.fromtimestamp(at, UTC).date().isoformat()


def _line(entry: Entry) -> str:
    ttl = f" (at most {entry.ttl_seconds} s)" if entry.ttl_seconds else ""
    return f"{entry.id} {' '.join(entry.selectors)}{ttl}"


def _fields(record: PrincipalRecord) -> list[tuple[str, str]]:
    fields = [
        ("name", record.id),
        ("state", record.state.value),
        ("owner", record.owner),
        ("purpose", record.purpose),
        ("roles", ", ".join(record.roles)),
        ("is", ", ".join(record.users)),
        ("created", moment(record.created_at)),
        ("review", _day(record.review_at) if record.kind is not PrincipalKind.OPERATOR else ""),
        ("spiffe", record.spiffe_id),
        ("rotated", moment(record.rotated_at) if record.rotated_at else ""),
    ]
    return [(field, text) for field, text in fields if text]
