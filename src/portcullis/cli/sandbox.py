"""``portcullis sandbox``: a command in a box, and what this machine can hold boxes with."""

from __future__ import annotations

import asyncio
import json as codec
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from portcullis.bootstrap.sandboxes import adapter as adapter_of
from portcullis.bootstrap.sandboxes import adapters
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.sandbox_manifest import manifest
from portcullis.cli.sandbox_probe import probe
from portcullis.config import load
from portcullis.config.boxed import mount as mount_of
from portcullis.config.boxed import uncovered
from portcullis.config.guarded import secret_places
from portcullis.config.sandbox import Sandboxing, lowered
from portcullis.core.errors import Problem
from portcullis.core.sandbox import STRICT, Ability, Ended, Ending, Hold, Mount, Order
from portcullis.core.sandbox_ports import Sandbox
from portcullis.execution.launch.streams import Carried, is_terminal, plain, terminal

app = typer.Typer(no_args_is_help=True)
app.command()(probe)
app.command()(manifest)

_WHY: Final = {
    Ending.MEMORY: "its memory was used up",
    Ending.DEADLINE: "its time was over",
}

Adapter = Annotated[
    str | None, typer.Option(help="What makes the box; default: the configuration's.")
]


@app.callback()
def sandbox() -> None:
    """Boxes: run a command in one, show what holds them here, try to get out."""


@app.command()
def run(
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    *,
    profile: Annotated[str, typer.Option(help="How the box is held.")] = "strict",
    adapter: Adapter = None,
    mount: Annotated[
        list[str] | None, typer.Option(help="DIR:ro or DIR:rw, in the box as it is; repeatable.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the command; repeatable.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Run a command in a box; its exit code and its three streams are passed on."""
    settings, kept = _settings(config)
    found = settings.named().get(profile)
    if found is None:
        raise Problem("PC7004", f"there is no profile {profile}: {', '.join(settings.named())}")
    mounts = tuple(_mount(one) for one in mount or ())
    sources = (f"{one.source}:ro" for one in mounts)
    if uncovered(kept, None, sources) is not None:
        raise Problem("PC7004", "--mount: it would give the box keys or secrets of the gate")
    order = Order(
        title="sandbox run",
        argv=tuple(command),
        profile=found,
        environ={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/scratch"} | _variables(env),
        mounts=mounts,
        terminal=is_terminal(),
    )
    if order.terminal:
        order = _with_terminal(order)
    with terminal() if order.terminal else plain() as carried:
        ended = asyncio.run(_run(_made(settings, adapter), order, carried))
    if ended.why in _WHY:
        sys.stderr.write(f"the box was ended: {_WHY[ended.why]}\n")
    raise typer.Exit(ended.status)


@app.command()
def show(
    *, adapter: Adapter = None, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """Show what each kind of box can enforce on this machine, and the profiles there are."""
    settings, _ = _settings(config)
    there = adapters() if settings.kubernetes is None else (*adapters(), "kubernetes")
    names = (adapter,) if adapter is not None else there
    found = [_made(settings, name).probe() for name in names]
    if json:
        profiles = {
            name: {"demands": sorted(one.demands), "less_than_strict": list(lowered(one))}
            for name, one in settings.named().items()
        }
        said = {"adapters": [_document(one) for one in found], "profiles": profiles}
        print(codec.dumps(said | {"default": settings.adapter}))
        return
    for one in found:
        _print(one, default=one.adapter == settings.adapter)
    for name, profile in settings.named().items():
        less = lowered(profile)
        print(f"profile {name}: {'less than strict: ' + ', '.join(less) if less else 'strict'}")


async def _run(sandbox: Sandbox, order: Order, carried: Carried) -> Ended:
    loop = asyncio.get_running_loop()
    box = await sandbox.start(order, carried.streams)
    try:
        carried.given()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: asyncio.ensure_future(box.kill()))
        if order.terminal:
            loop.add_signal_handler(signal.SIGWINCH, carried.resize)
        return await box.wait()
    finally:
        await box.close()


def _with_terminal(order: Order) -> Order:
    """The same, in a session whose terminal the streams are, so that keys are signals in it."""
    argv = ("/usr/bin/setsid", "--ctty", *order.argv)
    environ = {**order.environ, "TERM": os.environ.get("TERM", "dumb")}
    return Order(
        title=order.title,
        argv=argv,
        profile=order.profile,
        environ=environ,
        mounts=order.mounts,
        terminal=True,
    )


def _settings(config: Path) -> tuple[Sandboxing, tuple[Path, ...]]:
    """The configuration's section, and what no box is to see; without a file, the default."""
    if config == DEFAULT_CONFIG and not config.exists():
        return Sandboxing(), ()
    found = load(config)
    return found.sandbox, secret_places(found)


def _made(settings: Sandboxing, name: str | None) -> Sandbox:
    return adapter_of(name or settings.adapter, settings.kubernetes)


def _variables(given: list[str] | None) -> dict[str, str]:
    pairs = [one.partition("=") for one in given or ()]
    if not all(name and equals for name, equals, _ in pairs):
        raise Problem("PC7004", "--env takes NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _mount(text: str) -> Mount:
    place, colon, mode = text.rpartition(":")
    whole = f"{Path(place).absolute()}:{mode}" if colon else str(Path(text).absolute())
    try:
        return mount_of(whole)
    except ValueError as error:
        raise Problem("PC7004", f"--mount: {error}") from None


def _document(ability: Ability) -> dict[str, object]:
    return {
        "adapter": ability.adapter,
        "version": ability.version,
        "strict": ability.enforces >= STRICT,
        "enforces": sorted(ability.enforces),
        "lacking": {str(hold): why for hold, why in sorted(ability.lacking.items())},
    }


def _print(ability: Ability, *, default: bool) -> None:
    holds = "strict" if ability.enforces >= STRICT else "not strict"
    mark = " (default)" if default else ""
    print(f"{ability.adapter} {ability.version or '-'}{mark}: {holds}")
    if not ability.enforces:
        print(f"  {ability.lacking[Hold.USER]}")
        return
    for hold in Hold:
        if hold in ability.enforces:
            print(f"  {hold:20} yes")
        else:
            print(f"  {hold:20} no   {ability.lacking.get(hold, '')}")
