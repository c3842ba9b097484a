"""``agent connect`` and ``agent login``: what runs beside an agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from portcullis import client
from portcullis.cli.addresses import Addresses
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.references import resolved
from portcullis.cli.ways import Way, identified
from portcullis.client.ask import CUT, MUTE, origin, unanswered
from portcullis.client.connector import Connector
from portcullis.client.gate import Gate, Patience
from portcullis.client.identity import Identity
from portcullis.client.saved import Saved
from portcullis.client.tls import domain_of, read_authorities
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.wire.certificates import pem

DENIED = 3
UNREACHED = "PC7011"

Name = Annotated[str, typer.Argument(help="Its name, as registered.")]
REACH_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the two verbs have in common."""

    kind: PrincipalKind
    name: str
    gate: str
    enrol: str
    join_token: str | None
    kubernetes_token: str | None
    cluster: str
    socket: Path | None
    spiffe_id: str | None
    ca: Path | None
    save: Path | None
    scope: tuple[str, ...]
    joined: str = ""
    """A join token that was made here, by the operator of this machine, for this command."""
    patience: Patience | None = None

    @classmethod
    def of(cls, kind: PrincipalKind, name: str, way: Way, where: Addresses) -> Options:
        """What the command line said."""
        return cls(
            kind=kind,
            name=name,
            gate=where.gate,
            enrol=where.enrol,
            join_token=way.join_token,
            kubernetes_token=way.kubernetes_token,
            cluster=way.cluster,
            socket=way.socket,
            spiffe_id=way.spiffe_id,
            ca=way.ca,
            save=way.save,
            scope=tuple(way.scope or ()),
        )

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Gate]:
        """The gate under the identity that the options describe, which both sides know."""
        if self.join_token is not None:
            await _reach(self.gate)  # or a token that is good once would be spent for nothing
        async with self._source() as identity:
            principal = identity.current.id.principal()
            if self.spiffe_id is None and principal != (self.kind, self.name):
                detail = f"this is not {self.kind} {self.name}, but {identity.current.id}"
                raise Problem("PC7004", detail)
            roots = () if self.ca is None else read_authorities(self.ca)
            gate = Gate(
                self.gate,
                identity,
                scope=self.scope,
                trust_domain=domain_of(roots) if self.socket and roots else "",
                roots=roots if self.socket else (),
                patience=self.patience,
            )
            await gate.ready()
            yield gate

    def _source(self) -> Identity:
        ways = (self.join_token, self.kubernetes_token, self.socket)
        given = sum(way is not None for way in ways)
        if given > 1 or not (given or self.save or self.joined):
            hint = "They are references (env:NAME, file:PATH), never values."
            detail = "give one of --join-token, --kubernetes-token and --socket"
            raise Problem("PC7004", detail, hint=hint)
        if self.socket is not None:
            wanted = self.spiffe_id or f"/{self.kind}/{self.name}"
            return client.workload(self.socket, spiffe_id=wanted)
        return client.enrolled(
            self.enrol,
            gate=self.gate,
            join_token=(
                resolved("--join-token", self.join_token) if self.join_token else self.joined
            ),
            kubernetes_token=(
                resolved("--kubernetes-token", self.kubernetes_token)
                if self.kubernetes_token
                else ""
            ),
            cluster=self.cluster,
            ca=self.ca,
            save=self.save,
        )


def add_to(app: typer.Typer, kind: PrincipalKind) -> None:
    """Add the two verbs to the noun of a kind of workload."""

    @app.command(help="Run beside an unmodified client: plain on loopback, mutual TLS behind.")
    @identified
    def connect(
        name: Name,
        *,
        config: ConfigFile = DEFAULT_CONFIG,
        listen: Annotated[
            str, typer.Option(help="HOST:PORT on loopback, or unix:PATH.")
        ] = "127.0.0.1:0",
        require_key: Annotated[
            str | None, typer.Option(help="A key that clients show, as env:NAME or file:PATH.")
        ] = None,
        json: Json = False,
        way: Way,
    ) -> None:
        options = Options.of(kind, name, way, way.where(config))
        key = _secret("--require-key", require_key)
        _run(_connect(options, listen, key, as_json=json))

    @app.command(help="Get a bound token once, for a script; print it with its key, as JSON.")
    @identified
    def login(
        name: Name, *, config: ConfigFile = DEFAULT_CONFIG, as_json: Json = True, way: Way
    ) -> None:
        del as_json  # a token and its key are for programs: there is no other shape
        _run(_login(Options.of(kind, name, way, way.where(config))))


def _secret(option: str, reference: str | None) -> str:
    return "" if reference is None else resolved(option, reference)


async def _reach(gate: str) -> None:
    """See that somebody listens there. Raises Problem PC7011."""
    parts = urlsplit(origin(gate))
    try:
        async with asyncio.timeout(REACH_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.close()
    except (OSError, TimeoutError) as error:
        raise unanswered(error, gate) from None


async def _connect(options: Options, listen: str, key: str, *, as_json: bool) -> Problem | None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with options.opened() as gate:
        connector = Connector(gate, key=key)
        async with connector.listening(listen) as base:
            _announce(gate.identity, base, as_json=as_json)
            stopping = asyncio.create_task(stop.wait())
            running = asyncio.create_task(connector.run())
            await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if running.done():
                return running.result()
            running.cancel()
            return None


def _announce(identity: Identity, base: str, *, as_json: bool) -> None:
    svid = identity.current
    urls = {
        "openai": f"{base}/openai/v1",
        "anthropic": f"{base}/anthropic",
        "mcp": f"{base}/mcp/SERVER",
        "guard": base,
    }
    if as_json:
        print(json.dumps({"spiffe_id": str(svid.id), "base": base, **urls}), flush=True)
        return
    sys.stderr.write(f"connected as {svid.id}\n")
    sys.stderr.write(f"for portcullis.client.guard: export PORTCULLIS_URL={base}\n")
    for name, url in urls.items():
        print(f"{name:10}{url}", flush=True)


async def _login(options: Options) -> None:
    save = options.save
    async with options.opened() as gate:
        token = await gate.ready()
        svid = gate.link().svid
    answer: dict[str, str | float] = {
        "spiffe_id": str(svid.id),
        "token": token.value,
        "token_type": token.scheme,
        "expires_at": token.expires_at,
        "bound_to": svid.thumbprint,
        "svid_expires_at": svid.expires_at,
    }
    if save is None:
        chain, key = pem(svid.chain), svid.key.decode("ascii")
        answer |= {"svid": chain, "key": key, "bundle": pem(svid.roots)}
        where = "The key is in the output and nowhere else; nothing was written to disk."
    else:
        Saved(save).store(svid)
        answer |= {"cert": str(save / "svid.pem"), "cacert": str(save / "bundle.pem")}
        where = f"SVID and key are in {save}: curl --cert {save}/svid.pem ..."
    until = datetime.fromtimestamp(token.expires_at, UTC).isoformat(timespec="seconds")
    sys.stderr.write(f"token valid until {until}, over mutual TLS with its key only.\n{where}\n")
    print(json.dumps(answer))


def _run(work: Coroutine[Any, Any, Problem | None]) -> None:
    """Run to the end; exit 3 when the gate has cut this principal off."""
    try:
        why = asyncio.run(work)
        if why is not None:
            raise why
    except Problem as problem:
        if problem.code == UNREACHED:
            hint = "Start the gate, or say where it is: --gate and --enrol, or its file with -c."
            raise Problem(problem.code, problem.detail, hint=hint) from None
        if problem.code not in CUT | {MUTE}:
            raise
        sys.stderr.write(f"error: {problem.code} {problem.entry.title}: {problem.detail}\n")
        sys.stderr.write(f"hint: {problem.hint}\n")
        raise typer.Exit(DENIED) from None
