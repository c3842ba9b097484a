"""``portcullis sandbox probe``: try to get out of the boxes that this gate makes, or of others."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from portcullis.bootstrap.sandboxes import adapter as adapter_of
from portcullis.bootstrap.sandboxes import adapters
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.progress import status
from portcullis.config import load
from portcullis.config.sandbox import Sandboxing
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Hold, Profile
from portcullis.core.sandbox_ports import Sandbox
from portcullis.redteam.escape import ALL, Found, digest, measure_escape

_FAILED: Final = 5
_ALL: Final = "all"


def probe(
    *,
    adapter: Annotated[
        str | None,
        typer.Option(
            help="A kind of box, or `all` that hold the profile here; default: what is configured."
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="How the box is held.")] = "strict",
    every: Annotated[bool, typer.Option("--all", help="List what was stopped too.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Run a hostile program in boxes and say what it reached; exit 5 when it reached anything."""
    settings = _settings(config)
    held = _profile(profile, settings)
    chosen = adapter or settings.adapter
    sandboxes = list(_here(held)) if chosen == _ALL else [adapter_of(chosen, settings.kubernetes)]
    if not sandboxes:
        raise Problem("PC5030", f"nothing on this machine holds all that {profile} demands")
    with status("trying to get out", quiet=as_json) as say:
        result, found = asyncio.run(measure_escape(sandboxes, held, say))
    if as_json:
        text = msgspec.json.encode(result).decode()
        sys.stdout.write(msgspec.json.format(text, indent=2) + "\n")
    else:
        _show(found, every=every)
    if not all(target.met for target in result.targets.values()):
        raise typer.Exit(_FAILED)


def _settings(config: Path) -> Sandboxing:
    exists = config != DEFAULT_CONFIG or config.exists()
    return load(config).sandbox if exists else Sandboxing()


def _profile(name: str, settings: Sandboxing) -> Profile:
    named = settings.named()
    if name not in named:
        raise Problem("PC7004", f"there is no profile {name}: {', '.join(named)}")
    return named[name]


def _here(profile: Profile) -> Iterator[Sandbox]:
    """What holds it on this machine and runs programs of the machine; the rest is said why not."""
    for name in adapters():
        sandbox = adapter_of(name)
        ability = sandbox.probe()
        missing = sorted(profile.demands - ability.enforces)
        if Hold.INSTRUCTIONS in ability.enforces:
            sys.stderr.write(f"{name}: runs no program of this machine: not tried\n")
        elif missing:
            why = ability.lacking.get(missing[0], "not enforced")
            sys.stderr.write(f"{name}: not tried: {missing[0]}: {why}\n")
        else:
            yield sandbox


def _show(found: Mapping[str, Sequence[Found]], *, every: bool) -> None:
    console = Console(highlight=False)
    table = Table(title="stopped, of attempts", box=box.SIMPLE, padding=0, title_justify="left")
    table.add_column("group")
    for name in found:
        table.add_column(name, justify="right")
    tried = {each.group for results in found.values() for each in results}
    for group in (*(one for one in ALL if one in tried), None):
        cells = [_cell([e for e in one if group in {None, e.group}]) for one in found.values()]
        table.add_row(group or "all", *cells)
    console.print(table)
    lines = Console(highlight=False, soft_wrap=True)
    for name, results in found.items():
        for each in results:
            if every or not each.stopped:
                word = "stopped" if each.stopped else "NOT STOPPED"
                said = f"{name} {each.id}: {word}: {each.tries}: {each.how}"
                lines.print("".join(c if c.isprintable() else "?" for c in said), markup=False)
    lines.print(f"attempts: sha256 {digest()}")


def _cell(results: Sequence[Found]) -> str:
    return f"{sum(each.stopped for each in results)} of {len(results)}" if results else "-"
