"""``portcullis doctor``: what is missing on this machine, and what to do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import regorus
import typer

from portcullis.audit.files import read
from portcullis.audit.note import MAX_NOTE
from portcullis.audit.publish import CHECKPOINT
from portcullis.audit.quorum import Quorum, load_quorum
from portcullis.bootstrap import CA, authority_of, keys_of
from portcullis.bootstrap.notices import references
from portcullis.bootstrap.secret_sources import Sources
from portcullis.catalogue.schema import fault
from portcullis.cli.doctor_boxes import boxes
from portcullis.cli.doctor_channels import channel
from portcullis.cli.doctor_egress import egress
from portcullis.cli.doctor_finding import Finding, reachable
from portcullis.cli.doctor_hosts import hosts
from portcullis.cli.doctor_oauth import oauth
from portcullis.cli.doctor_observed import observed
from portcullis.cli.doctor_operators import operators
from portcullis.cli.doctor_policy import released
from portcullis.cli.doctor_rules import readings
from portcullis.cli.doctor_secrets import opened
from portcullis.cli.doctor_secrets import secrets as told_of_secrets
from portcullis.cli.doctor_store import server as database_server
from portcullis.cli.operate import RunningGate, running_gate, running_gateways
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import Config, McpUpstream, load
from portcullis.config.inspection import Inspection
from portcullis.config.places import Role, logs_of
from portcullis.core.errors import Problem
from portcullis.execution.secrets import Secrets
from portcullis.identity.authority_files import Files, parse_state
from portcullis.identity.in_force import attention
from portcullis.identity.keys import ISSUER
from portcullis.identity.workload.socket import MAX_PATH
from portcullis.inspection import packs
from portcullis.inspection.build import rules_of
from portcullis.policy.pdp import load as load_policy

SLOW_SYNC_MS = 20.0


def doctor(config: ConfigFile = DEFAULT_CONFIG, *, as_json: Json = False) -> None:
    """Say what is missing here and what to do; exit 1 when something is."""
    findings = [*_machine()]
    settings: Config | None = None
    try:
        settings = load(config)
        findings.append(Finding("configuration", ok=True, found=str(config)))
    except Problem as problem:
        findings.append(Finding("configuration", ok=False, found=problem.detail, do=problem.hint))
    if settings is not None:
        findings += _deployment(settings)
    if as_json:
        print(
            json.dumps(
                {"ok": all(f.ok for f in findings), "findings": [f._asdict() for f in findings]}
            )
        )
    else:
        for finding in findings:
            print(f"{'ok     ' if finding.ok else 'MISSING'}  {finding.what}: {finding.found}")
            if not finding.ok:
                print(f"         do: {finding.do}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _machine() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), version, "Install Python 3.11 or newer.")
    yield Finding("system", sys.platform == "linux", sys.platform, "Run on Linux.")
    engine = regorus.Engine()
    engine.add_policy("doctor.rego", "package doctor\nanswer := 40 + 2")
    good = engine.eval_rule("data.doctor.answer") == 42  # noqa: PLR2004 - the known answer
    yield Finding("policy engine", good, "evaluates", "Reinstall: `make setup`.")


def _deployment(config: Config) -> Iterator[Finding]:
    yield from _state(config.state)
    yield _tried("policy", str(config.policy), partial(load_policy, config.policy, fault))
    yield from released(config)
    yield from observed(config)
    yield from operators(config)
    yield _tried("inspection", "rules and their examples", partial(_inspection, config.inspection))
    with opened(config) as sources:
        yield from _upstreams(config, sources)


def _upstreams(config: Config, sources: Sources) -> Iterator[Finding]:
    secrets = sources.registry
    yield from (_tried(*reading) for reading in readings(config))
    yield from _keys(config)
    yield from hosts(config)
    yield from _addresses(config)
    yield from _witnesses(config)
    if config.counters.via == "redis" or config.feed.via == "redis" or config.shared.url:
        from portcullis.cli.doctor_redis import servers  # noqa: PLC0415 - Redis's client is slow

        yield from servers(config, secrets)
    for name, settings in config.notifications.items():
        for reference in references(settings):
            what = f"secret of notifications.{name}"
            yield _tried(what, reference, partial(secrets.resolve, reference))
        yield from channel(name, settings, secrets)
    yield from egress(config, secrets)
    yield from oauth(config, secrets)
    for name, model in config.models.items():
        if model.credential:
            reference = model.credential
            yield _tried(f"credential of {name}", reference, partial(secrets.resolve, reference))
        yield reachable(name, model.url)
    for name, server in config.mcp.items():
        yield from _server(name, server, secrets)
    yield from told_of_secrets(config, sources)
    yield from boxes(config)
    if not (config.models or config.mcp or config.guard or config.tools):
        do = "Name model endpoints, MCP servers or toolsets."
        yield Finding("upstreams", ok=False, found="none", do=do)


def _inspection(settings: Inspection) -> None:
    """Load all rules, and run the examples of the packs that do not ship."""
    rules_of(settings.packs, settings.without, settings.dictionaries)
    for file in settings.packs:
        packs.examples(packs.load(file))


def _keys(config: Config) -> Iterator[Finding]:
    """Whether what is sealed opens, and whether the authority can go on by itself."""
    if config.apart and not (config.state / "keys" / ISSUER).exists():
        yield _tried("keys", f"{config.keys.kind}: brought here", partial(keys_of, config))
        yield from _database(config)
        return
    if not (config.state / "keys").is_dir():
        yield Finding("keys", ok=True, found=f"{config.keys.kind}: they will be made")
        return
    yield _tried("keys", config.keys.kind, partial(authority_of, config))
    yield from _database(config)
    files = Files(config.state / CA)
    try:
        raw = files.raw_state()
        said = "" if raw is None else attention(files, parse_state(raw), time.time())
    except Problem as problem:
        yield Finding(
            "trust domain", ok=False, found=problem.detail, do="Restore it from a backup."
        )
        return
    if raw is not None:
        yield Finding("trust domain", not said, said or config.trust_domain, "See `ca show`.")


def _database(config: Config) -> Iterator[Finding]:
    """Whether the database can be read; nothing is made or changed."""
    if config.store.url is not None:
        yield database_server(config)
        return
    path = config.state / "portcullis.db"
    if not path.exists():
        return
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as db:
            db.execute("SELECT count(*) FROM principals").fetchone()
    except sqlite3.Error as error:
        do = "Restore it from a backup, or free it."
        yield Finding("database", ok=False, found=f"{path}: {error}", do=do)
    else:
        yield Finding("database", ok=True, found=str(path))


def _witnesses(config: Config) -> Iterator[Finding]:
    """Whether the witnesses of the log are there, and when a quorum last vouched for it."""
    if config.audit.witnesses is None:
        return
    try:
        quorum = load_quorum(config.audit.witnesses)
    except Problem as problem:
        yield Finding("witnesses", ok=False, found=problem.detail, do=problem.hint)
        return
    for name, witness in quorum.witnesses.items():
        if witness.url:
            yield reachable(name, witness.url)._replace(what=f"witness {name}")
    found = {name: place for name, place in logs_of(config).items() if Role.of(name).lasting}
    if not found:
        yield Finding("witnesses", ok=True, found="nothing is published yet")
    for name, place in found.items():
        yield _vouched("witnesses" if len(found) == 1 else f"witnesses of {name}", place, quorum)


def _vouched(what: str, place: Path, quorum: Quorum) -> Finding:
    """When a quorum last vouched for a log."""
    try:
        note = read(place / CHECKPOINT, MAX_NOTE)
        found = quorum.met(note, time.time())
    except FileNotFoundError:
        return Finding(what, ok=True, found="nothing is published yet")
    except (OSError, Problem) as error:
        return Finding(what, ok=False, found=str(error), do="Run `portcullis audit verify`.")
    said = "no quorum has cosigned the checkpoint"
    if found.time is not None:
        said = f"a quorum vouched for the log {max(0.0, time.time() - found.time):.0f} s ago"
    return Finding(what, found.met, said, "Start them, and give them the log's key.")


def _server(name: str, server: McpUpstream, secrets: Secrets) -> Iterator[Finding]:
    if server.cwd is not None and not server.cwd.is_dir():
        yield Finding(
            f"folder of {name}",
            ok=False,
            found=f"{server.cwd} is not a folder",
            do=f"Change mcp.{name}.cwd.",
        )
    if server.command:
        program = server.command[0]
        if server.cwd is not None and "/" in program:
            program = str(server.cwd / program)
        found = shutil.which(program, path=os.environ.get("PATH"))
        yield Finding(
            f"command of {name}",
            found is not None,
            found or f"{program} is not on PATH",
            f"Install {program} or give its full path in mcp.{name}.command.",
        )
    if server.credential:
        reference = server.credential
        yield _tried(f"credential of {name}", reference, partial(secrets.resolve, reference))
    if server.url:
        yield reachable(name, server.url)


def _state(state: Path) -> Iterator[Finding]:
    place = state
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        found = f"{place} is not a folder that can be written"
        yield Finding("state", ok=False, found=found, do="Change `state:`.")
        return
    if place == state:
        mode = stat.S_IMODE(state.stat().st_mode)
        yield Finding(
            "state", mode & 0o077 == 0, f"{state} has mode {mode:o}", f"Run `chmod 700 {state}`."
        )
    else:
        yield Finding("state", ok=True, found=f"{state} will be created")
    median = _sync_ms(place)
    yield Finding(
        "disk",
        median < SLOW_SYNC_MS,
        f"a durable write takes {median:.1f} ms (median of 20)",
        "Put `state:` on a faster disk: every effect waits for one durable write.",
    )


def _sync_ms(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(20):
            started = time.perf_counter()
            file.write(b"x" * 512)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return sorted(times)[10] * 1000


def _tried(what: str, found: str, attempt: Callable[[], object]) -> Finding:
    try:
        attempt()
    except Problem as problem:
        return Finding(what, ok=False, found=problem.detail, do=problem.hint)
    return Finding(what, ok=True, found=found)


def _addresses(config: Config) -> Iterator[Finding]:
    listen = config.listen
    given = (listen.gate, listen.control, listen.mtls, listen.tls, listen.bootstrap, listen.egress)
    addresses = [address for address in given if address is not None]
    fixed = [address for address in addresses if not address.endswith(":0")]
    said: list[Finding] = []
    try:
        said += _running(config, running_gate(config))
    except Problem as problem:
        yield Finding("gate", ok=False, found=problem.detail, do=problem.hint)
    if said:
        yield from said
    elif len(fixed) > len(set(fixed)):
        yield Finding(
            "address", ok=False, found="one is given to two listeners", do="Change `listen:`."
        )
    else:
        yield from map(_free, addresses)
    if listen.workload is not None:
        path = config.state / listen.workload
        yield Finding(
            "workload",
            len(os.fsencode(path)) <= MAX_PATH,
            str(path),
            f"Set listen.workload to a path of at most {MAX_PATH} bytes.",
        )


def _running(config: Config, running: RunningGate | None) -> Iterator[Finding]:
    """What runs: one process, or a control plane and its gateways, or one without the other."""
    if running is not None and running.role is Role.ALONE:
        yield Finding("gate", ok=True, found=f"{running.gate} runs, process {running.pid}")
        return
    gateways = running_gateways(config)
    if running is not None:
        yield Finding("control", ok=True, found=f"{running.control} runs, process {running.pid}")
    elif gateways and not config.apart:
        lease = config.feed.lease_seconds
        found = f"none runs: {', '.join(gateways)} refuse everything within {lease:g} s"
        yield Finding("control", ok=False, found=found, do="Start `portcullis control`.")
    for name, one in gateways.items():
        found = f"{one.gate or one.mtls} runs, process {one.pid}"
        yield Finding(f"gateway {name}", ok=True, found=found)
    if running is not None and not gateways and config.store.url is None:
        do = "Start `portcullis gateway --name NAME`."
        yield Finding("gateway", ok=False, found="none runs", do=do)


def _free(address: str) -> Finding:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            return Finding(
                "address", ok=False, found=f"{address}: {error.strerror}", do="Change `listen:`."
            )
    return Finding("address", ok=True, found=f"{address} is free")
