"""``portcullis ca``: the trust domain's authority.

``show`` and ``bundle`` read files that are not secret. What changes keys goes through the gate
that runs, or else opens the authority and the log itself; either way it is recorded.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from portcullis.bootstrap import SystemClock, authority_of, founded, keys_of, own_log
from portcullis.cli.operate import PATIENCE_SECONDS, call, local_operator, running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import Config, load
from portcullis.control.authority import Retirable, TrustDomain, What
from portcullis.control.records import Caller, Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.gateway.records import new_id
from portcullis.identity.authority import open_authority
from portcullis.identity.authority_files import Files, State, parse_state
from portcullis.identity.bundle import Bundle, encode
from portcullis.identity.in_force import attention, digest, read_bundle, root_keys
from portcullis.identity.sealing import Envelope
from portcullis.wire.certificates import pem

_FOLDER: Final = "ca"
_TOKEN_SECONDS: Final = 60

app = typer.Typer(no_args_is_help=True)


@app.command()
def show(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Show the authority's keys: what is in force, what follows, until when."""
    settings = load(config)
    files, state, _ = _published(settings)
    _print(state, files, as_json=json)
    warning = attention(files, state, SystemClock().now())
    if warning:
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def bundle(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Print the trust bundle: the roots in PEM, with --json the SPIFFE bundle document."""
    found = _published(load(config))[2]
    if json:
        print(encode(found).decode())
    else:
        print(pem(found.x509), end="")


@app.command()
def rotate(
    what: Annotated[What, typer.Argument(help="signing, root or jwt.")] = "signing",
    root_key: Annotated[
        Path | None, typer.Option(help="The root's sealed key, while it is offline.")
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Put a new key in force; the old one stays in the bundle while something needs it."""
    if root_key is not None and what != "signing":
        raise Problem("PC7004", "--root-key is for signing: a new root has a key of its own")
    settings = load(config)
    key = None if root_key is None else _read(root_key)
    body = {} if key is None else {"root_key": base64.b64encode(key).decode()}
    _change(
        settings,
        what,
        "rotate",
        body,
        lambda domain, context: domain.rotate(context, what, key),
        as_json=json,
    )
    typer.echo(f"a new {what} key is in force", err=True)
    if what == "root":
        typer.echo("note: its key is online; `portcullis ca offline DIR` moves it out", err=True)
        typer.echo(
            "note: enrolled clients learn of it within five minutes; restart no gate before",
            err=True,
        )


@app.command()
def retire(
    what: Annotated[Retirable, typer.Argument(help="root or jwt.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Take the old keys out of the bundle at once: all that they signed is refused from now on.

    After a compromise: first `rotate`, then `retire`. The keys of a signing authority are
    retired with the root above them.
    """
    _change(
        load(config),
        what,
        "retire",
        None,
        lambda domain, context: domain.retire(context, what),
        as_json=json,
    )
    typer.echo(f"old {what} keys are no longer trusted", err=True)


@app.command()
def offline(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the keys go.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Move the root's sealed key out; rotating a signing authority then needs --root-key.

    It opens only together with this deployment's key-encryption key (`keys`): keep that too.
    """
    settings = load(config)
    files, state, _ = _published(settings)
    found = root_keys(files, state)
    if not found:
        raise Problem("PC7008", "the root key is offline already")
    elsewhere = Files(directory)
    with elsewhere.exclusive():
        if directory.samefile(files.directory):  # what is removed here would be the only copy
            raise Problem("PC7004", f"{directory} is where the root key lies now; name another")
        for name, sealed in found.items():
            elsewhere.put(name, sealed)
    digests = {name: digest(elsewhere.get(name)) for name in found}
    _change(
        settings,
        "root",
        "offline",
        {"digests": digests},
        lambda domain, context: domain.forget_root_keys(context, digests),
        as_json=json,
    )
    for name in digests:
        typer.echo(f"moved to {directory / name}", err=True)


def _published(config: Config) -> tuple[Files, State, Bundle]:
    """What the authority's files say; read again when they change under our eyes."""
    files = Files(config.state / _FOLDER)
    raw = files.raw_state()
    if raw is None:
        hint = "It is made when the gate starts: `portcullis up`."
        raise Problem("PC7008", "there is no authority yet", hint=hint)
    try:
        state = parse_state(raw)
        return files, state, read_bundle(files, state, config.identity.svid_ttl_seconds)
    except Problem:
        if files.raw_state() == raw:
            raise
        return _published(config)


def _change(
    config: Config,
    what: What,
    verb: str,
    body: dict[str, Any] | None,
    work: Callable[[TrustDomain, Context], Coroutine[Any, Any, State]],
    *,
    as_json: bool,
) -> None:
    """Do it at the gate that runs, or here; then print the keys."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        gate = running_gate(config)
        try:
            if gate is not None:
                token = authority_of(config).mint(
                    PrincipalKind.OPERATOR, local_operator(), ttl=_TOKEN_SECONDS, roles=("admin",)
                )
                call(gate.control, "POST", f"/api/v1/authority/{what}/{verb}", token.token, body)
            else:
                _here(config, f"authority.{verb}.{what}", work)
            break
        except Problem as problem:  # a gate that is starting has the log and no address yet
            if problem.code != "PC6003" or time.monotonic() > until:
                raise
        time.sleep(0.05)
    if as_json:
        files, state, _ = _published(config)
        _print(state, files, as_json=True)


def _here(
    config: Config, method: str, work: Callable[[TrustDomain, Context], Coroutine[Any, Any, State]]
) -> None:
    with _opened(config) as (runner, domain, records):
        now = SystemClock().now()
        context = Context(
            principal=Principal(
                kind=PrincipalKind.OPERATOR,
                id=local_operator(),
                credential="issuer-key",
                expires_at=now + _TOKEN_SECONDS,
                roles=("admin",),
            ),
            session=None,
            source="cli",
            trace_id=secrets.token_hex(16),
            received_at=now,
        )
        try:
            runner.run(work(domain, context))
        except Problem as problem:
            caller = Caller(
                route="cli",
                source=context.source,
                trace_id=context.trace_id,
                principal=context.principal,
            )
            raise records.refused(problem, caller, method) from None


@contextlib.contextmanager
def _opened(config: Config) -> Iterator[tuple[asyncio.Runner, TrustDomain, Records]]:
    """The authority and the gate's own log, as their only writer (else Problem PC6003)."""
    with contextlib.ExitStack() as stack:
        sealer = Envelope(keys_of(config))
        services = founded(stack, config, own_log(config), sealer)
        authority = open_authority(
            config.state / _FOLDER,
            trust_domain=config.trust_domain,
            settings=config.identity,
            sealer=sealer,
            clock=services.clock,
            new_id=new_id,
        )
        records = services.records()
        runner = stack.enter_context(asyncio.Runner())
        yield runner, TrustDomain(authority, records, "cli"), records


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Problem("PC7005", f"{path}: {error.strerror}") from None


def _print(state: State, files: Files, *, as_json: bool) -> None:
    online = root_keys(files, state)
    rows = [
        msgspec.to_builtins(key) | {"online": key.kind != "root" or f"{key.name}.key" in online}
        for key in sorted(state.keys, key=lambda key: (key.kind, key.created_at))
    ]
    if as_json:
        value = {"trust_domain": state.trust_domain, "sequence": state.sequence, "keys": rows}
        print(msgspec.json.encode(value).decode())
        return
    print(f"{state.trust_domain}, bundle {state.sequence}")
    for row in rows:
        print(_row(row))


def _row(row: dict[str, Any]) -> str:
    when = {
        "prepared": f"signs from {_moment(row['active_at'])}",
        "active": f"ends {_moment(row['not_after'])}",
        "retired": f"in the bundle until {_moment(row['needed_until'])}",
    }[row["state"]]
    away = "" if row["online"] or row["state"] == "retired" else ", its key is offline"
    return f"{row['kind']:8} {row['state']:9} {row['id']}  {when}{away}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
