"""``portcullis tenant``: the tenants of a provider, each a deployment of its own."""

from __future__ import annotations

import asyncio
import json as codec
import re
import signal
import sys
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from portcullis.cli.options import Json
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portcullis.bootstrap.tenants_running import Bounds
    from portcullis.config.tenants import Tenant

app = typer.Typer(no_args_is_help=True)

_PORTS: Final = re.compile(r"(\d{1,5})-(\d{1,5})")
_MOST_PORT: Final = 65535
_MIB: Final = 2**20

Folder = Annotated[Path, typer.Option("--folder", help="The provider's folder of tenants.")]
Name = Annotated[str, typer.Argument(help="The tenant: a-z, 0-9 and -, at most 24 characters.")]


@app.callback()
def _about() -> None:
    """Tenants of a provider."""


@app.command()
def create(
    name: Name,
    parent: Annotated[
        str, typer.Option(help="The provider's trust domain; the tenant's is NAME below it.")
    ],
    folder: Folder = Path(),
    ports: Annotated[
        str, typer.Option(help="FIRST-LAST: those of loopback that no tenant here has are taken.")
    ] = "7400-7999",
    listen: Annotated[
        list[str] | None,
        typer.Option(help="gate=HOST:PORT, control=... or mtls=...: in place of such a port."),
    ] = None,
    database_admin: Annotated[
        str | None,
        typer.Option(
            help="env:NAME or file:PATH of the address of PostgreSQL's administrator: the tenant"
            " gets a database and a role there. Without it its records are in a file."
        ),
    ] = None,
    redis_admin: Annotated[
        str | None,
        typer.Option(
            help="The same of Valkey or Redis: the tenant gets users there, and has counts, feed"
            " and shared state at it."
        ),
    ] = None,
    *,
    by_hand: Annotated[
        bool,
        typer.Option("--by-hand", help="Write down what administrators have to say; ask nobody."),
    ] = False,
    json: Json = False,
) -> None:
    """Make a tenant: a folder with its configuration, a policy to start from, and its own state.

    With --json: `tenant`, `folder`, `trust_domain`, `listen`, and `left` to do.
    """
    from portcullis.bootstrap.tenants_making import OPENED, Wanted  # noqa: PLC0415 - slow
    from portcullis.bootstrap.tenants_making import create as made_of  # noqa: PLC0415 - the same

    policy = resources.files("portcullis.cli").joinpath("templates", "policy", "main.yaml")
    at = dict(one.partition("=")[::2] for one in listen or [])
    if not at.keys() <= set(OPENED) or not all(re.fullmatch(r".+:\d+", x) for x in at.values()):
        raise Problem("PC7004", f"--listen is NAME=HOST:PORT; NAME one of {', '.join(OPENED)}")
    wanted = Wanted(
        name,
        parent,
        policy.read_text(encoding="utf-8"),
        at,
        _range(ports),
        _administrator("--database-admin", database_admin),
        _administrator("--redis-admin", redis_admin),
        by_hand=by_hand,
    )
    made = made_of(folder, wanted)
    if json:
        said = {"tenant": name, "folder": str(made.tenant.folder)}
        print(codec.dumps(said | {"trust_domain": made.trust_domain, "listen": dict(made.listen),
                                  "left": list(made.left)}))  # fmt: skip
        return
    print(f"folder        {made.tenant.folder}")
    print(f"trust domain  {made.trust_domain}")
    for listener, address in made.listen.items():
        print(f"{listener:13} {address}")
    for one in made.left:
        print(f"to do         {one}")
    sys.stderr.write(
        f"Next: name its upstreams in {made.tenant.file}, write its policy, then\n"
        f"`portcullis tenant check --folder {folder}` and `portcullis tenant up --folder"
        f" {folder}`.\n"
    )


@app.command("list")
def list_(folder: Folder = Path(), *, json: Json = False) -> None:
    """Say which tenants there are, whether they run, and where.

    With --json, an object each: `tenant`, `trust_domain`, `process`, `gate`, `control`, `records`,
    and `fault` where the configuration cannot be read.
    """
    from portcullis.cli.operate import running_gate  # noqa: PLC0415 - slow
    from portcullis.config.tenants import tenants  # noqa: PLC0415 - slow

    for one in tenants(folder):
        said: dict[str, Any]
        try:
            config = one.config()
            gate = running_gate(config)
        except Problem as problem:
            said = {"tenant": one.name, "fault": problem.detail}
            print(codec.dumps(said) if json else f"{one.name:24}  {problem.detail}")
            continue
        records = "file" if config.store.url is None else "postgresql"
        if json:
            said = {"tenant": one.name, "trust_domain": config.trust_domain, "records": records}
            said |= {"process": gate and gate.pid, "gate": gate and gate.gate}
            print(codec.dumps(said | {"control": gate and gate.control}))
            continue
        runs = "does not run" if gate is None else f"process {gate.pid} {gate.gate or gate.control}"
        print(f"{one.name:24}  {config.trust_domain}  {records}  {runs}")


@app.command()
def up(
    folder: Folder = Path(),
    only: Annotated[
        list[str] | None, typer.Option("--only", help="This tenant, and no other; repeatable.")
    ] = None,
    memory: Annotated[
        int, typer.Option(min=640, help="MiB that a process of a tenant's may have of its own.")
    ] = 1024,
    files: Annotated[
        int, typer.Option(min=256, help="Files and connections that it may have open.")
    ] = 4096,
) -> None:
    """Run tenants, each as `portcullis up` in a process of its own, until SIGTERM or Ctrl-C.

    One that ends is started again, and no other notices. SIGHUP has all look at their policies.
    """
    from portcullis.bootstrap.tenants_running import Bounds  # noqa: PLC0415 - slow
    from portcullis.config.tenants import tenant, tenants  # noqa: PLC0415 - slow

    wanted: Sequence[Tenant] = [
        tenant(folder, one) for one in dict.fromkeys(only or [])
    ] or tenants(folder)
    if not wanted:
        raise Problem("PC7094", f"there is no tenant in {folder}")
    asyncio.run(_run(wanted, Bounds(memory * _MIB, files)))


@app.command()
def check(folder: Folder = Path(), *, json: Json = False) -> None:
    """Say by what tenants are not apart: files, addresses, databases, Redis; exit 1 then.

    Each is asked about at its servers with its own credentials. With --json: `ok`, `tenants`, and
    `findings`, each with `code`, `tenants`, `found` and `hint`.
    """
    import msgspec  # noqa: PLC0415 - slow

    from portcullis.bootstrap.tenants_apart import looked_at, on_this_machine  # noqa: PLC0415 - slow
    from portcullis.bootstrap.tenants_servers import at_servers, references  # noqa: PLC0415 - slow

    looked, found = looked_at(folder)
    findings = [*found, *on_this_machine(folder, looked), *at_servers(looked, references)]
    if json:
        said = {"ok": not findings, "tenants": [one.name for one in looked]}
        print(codec.dumps(said | {"findings": msgspec.to_builtins(findings)}))
    else:
        for one in findings:
            print(f"{one.code}  {', '.join(one.tenants) or folder}: {one.found}")
            print(f"        do: {one.hint}")
        if not findings:
            print(f"apart   {', '.join(one.name for one in looked) or 'there is none'}")
    if findings:
        raise typer.Exit(1)


@app.command()
def remove(name: Name, folder: Folder = Path(), *, json: Json = False) -> None:
    """Set a tenant aside that does not run, and say what is left of it. Nothing is deleted.

    Its logs are evidence. With --json: `tenant`, `folder`, `left`.
    """
    from portcullis.bootstrap.tenants_making import removed  # noqa: PLC0415 - slow
    from portcullis.cli.operate import running_gate, running_gateways  # noqa: PLC0415 - slow
    from portcullis.config.tenants import tenant  # noqa: PLC0415 - slow

    one = tenant(folder, name)
    config = one.config()
    if running_gate(config) is not None or running_gateways(config):
        raise Problem("PC7094", f"{name} runs", hint="Stop it first.")
    aside, left = removed(one, config, time.time())
    if json:
        print(codec.dumps({"tenant": name, "folder": str(aside), "left": list(left)}))
        return
    for what in left:
        print(f"left  {what}")


async def _run(wanted: Sequence[Tenant], bounds: Bounds) -> None:
    from portcullis.bootstrap.tenants_running import TenantsRunning  # noqa: PLC0415 - slow
    from portcullis.cli.serve import Stop, Stopped, say  # noqa: PLC0415 - slow

    stop = Stop()
    running = TenantsRunning(wanted, bounds, say)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, running.signal, signal.SIGHUP)
    keeping = asyncio.create_task(running.run())
    try:  # a fault of what keeps them ends this process: without it it is of no use
        await stop.before(asyncio.shield(keeping))
    except Stopped:
        say("draining")
    finally:
        await running.end()
        await keeping


def _administrator(option: str, reference: str | None) -> str:
    from portcullis.cli.references import resolved  # noqa: PLC0415 - slow

    return "" if reference is None else resolved(option, reference).strip()


def _range(given: str) -> range:
    match = _PORTS.fullmatch(given)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < first <= last <= _MOST_PORT:
        raise Problem("PC7004", "--ports is FIRST-LAST, such as 7400-7999")
    return range(first, last + 1)
