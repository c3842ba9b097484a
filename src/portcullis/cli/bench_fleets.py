"""``portcullis bench`` of what many processes carry: capacity, traces, workers, fleets, soak."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from portcullis.bench.capacity import Settings as CapacitySettings
from portcullis.bench.capacity import measure_capacity
from portcullis.bench.fleet import KINDS as FLEET_KINDS
from portcullis.bench.fleet import Settings as FleetSettings
from portcullis.bench.fleet import measure_fleet
from portcullis.bench.fleet_peers import ContextForge, LiteLlm, Peer
from portcullis.bench.soak import Settings as SoakSettings
from portcullis.bench.soak import measure_soak
from portcullis.bench.traces import Settings as TraceSettings
from portcullis.bench.traces import measure_traces
from portcullis.bench.workers import Settings as WorkerSettings
from portcullis.bench.workers import measure_workers
from portcullis.cli.bench_table import parts
from portcullis.cli.options import Json
from portcullis.cli.progress import status
from portcullis.core.errors import Problem

app = typer.Typer()

Seconds = Annotated[float, typer.Option(min=0.1, max=60, help="Of each cell.")]
Folder = Annotated[
    Path | None, typer.Option(help="Where the gate's state goes: the disk that counts.")
]


@app.command("capacity")
def capacity(
    *,
    seconds: Seconds = 3.0,
    agents: Annotated[int, typer.Option(min=100, max=100_000, help="More than 100.")] = 10_000,
    sessions: Annotated[int, typer.Option(min=100, max=100_000, help="That are opened.")] = 1000,
    redis: Annotated[str, typer.Option(help="Its URL, `auto` to start one, or `none`.")] = "auto",
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """What one core carries, and what calls, agents and sessions take."""
    settings = CapacitySettings(
        seconds=seconds, agents=agents, sessions=sessions, redis=redis, folder=folder
    )
    with status("measuring", quiet=as_json) as say:
        result = measure_capacity(settings, say)
    parts(result, as_json=as_json)


@app.command("traces")
def traces(
    *,
    seconds: Seconds = 1.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Of each gate.")] = 5,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """What it costs to trace none, some or all of the requests."""
    settings = TraceSettings(seconds=seconds, rounds=rounds, folder=folder)
    with status("measuring", quiet=as_json) as say:
        result = measure_traces(settings, say)
    parts(result, as_json=as_json)


@app.command("workers")
def workers(
    *,
    workers: Annotated[int, typer.Option(min=2, max=32, help="Compared with one.")] = 2,
    seconds: Seconds = 2.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Of each deployment.")] = 5,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """How much more several workers serve than one, on this machine and with the load on it too."""
    settings = WorkerSettings(workers=workers, seconds=seconds, rounds=rounds, folder=folder)
    with status("measuring", quiet=as_json) as say:
        result = measure_workers(settings, say)
    parts(result, as_json=as_json)


@app.command("fleet")
def fleet(
    *,
    gateways: Annotated[str, typer.Option(help="Counts, with commas.")] = "1,2,4",
    connections: Annotated[str, typer.Option(help="Counts, with commas.")] = "50,200,1000",
    only: Annotated[
        Literal["json", "sse", "tools", "mix"] | None, typer.Option(help="One kind of call.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, max=1200, help="Of load in each cell, peers not counted.")
    ] = 60.0,
    rounds: Annotated[int, typer.Option(min=1, max=200, help="Turns of all in a cell.")] = 5,
    growth: Annotated[
        float,
        typer.Option(min=0, max=1200, help="Seconds of load in which memory is looked at."),
    ] = 0.0,
    cells: Annotated[
        Path | None,
        typer.Option(help="Where cells are kept: what is there is not measured again."),
    ] = None,
    litellm: Annotated[
        Path | None, typer.Option(help="A Python that has it: make bench-fleet-peers.")
    ] = None,
    contextforge: Annotated[
        Path | None, typer.Option(help="A Python that has it: make bench-fleet-peers.")
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """What calls cost a fleet of gateways, beside a bare proxy and gateways of others."""
    peers: list[Peer] = [LiteLlm(litellm.absolute())] if litellm else []
    peers += [ContextForge(contextforge.absolute())] if contextforge else []
    settings = FleetSettings(
        gateways=counts(gateways, 16, "--gateways"),
        connections=counts(connections, 2000),
        kinds=(only,) if only else FLEET_KINDS,
        seconds=seconds,
        rounds=rounds,
        peers=tuple(peers),
        growth=growth,
        cells=cells,
        folder=folder,
        command=shlex.join(("portcullis", *sys.argv[1:])),
    )
    with status("measuring", quiet=as_json) as say:
        result = measure_fleet(settings, say, warned)
    parts(result, as_json=as_json)


@app.command("soak")
def soak(
    *,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="Of load in all.")] = 3600.0,
    slice_seconds: Annotated[float, typer.Option(min=1, max=1200, help="One fault in each.")] = 60,
    seed: Annotated[int, typer.Option(min=1, help="Decides who is killed.")] = 1,
    cells: Annotated[
        Path | None,
        typer.Option(help="Where slices are kept: what is there is not run again."),
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """A fleet under load while its processes are killed at random: what holds, and what grows."""
    settings = SoakSettings(
        seconds=seconds,
        slice_seconds=slice_seconds,
        seed=seed,
        cells=cells,
        folder=folder,
        command=shlex.join(("portcullis", *sys.argv[1:])),
    )
    with status("soaking", quiet=as_json) as say:
        result = measure_soak(settings, say, warned)
    parts(result, as_json=as_json)


def warned(text: str) -> None:
    """Say what a figure alone does not."""
    typer.echo(f"warning: {text}", err=True)


def counts(text: str, most: int = 500, option: str = "--connections") -> tuple[int, ...]:
    """What an option lists. Raises Problem PC7004."""
    parts = text.split(",")
    if not all(part.isdigit() and 1 <= int(part) <= most for part in parts):
        raise Problem("PC7004", f"{option} takes numbers from 1 to {most}, such as 1,2,4")
    return tuple(dict.fromkeys(int(part) for part in parts))
