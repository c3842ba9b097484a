"""``portcullis audit witness``: run a witness of logs, for others or beside one's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.audit.note import Verifier
from portcullis.audit.quorum import load_quorum
from portcullis.audit.verify import load_verifier
from portcullis.audit.witness import VKEY
from portcullis.cli.options import Json, load
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.bootstrap.witness import RunningWitness


def witness(
    state: Annotated[Path, typer.Option(help="Its folder: key and what it has seen.")],
    listen: Annotated[str, typer.Option(help="host:port.")] = "127.0.0.1:7310",
    logs: Annotated[
        list[str] | None,
        typer.Option("--log", help="A log's verifier key, or a file with it. Repeatable."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A tlog-policy file: its `log` lines.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="The name of its key, such as example.org/w1; only at first.")
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Seal its key by the `keys` of this configuration."),
    ] = None,
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Print the verifier key and exit.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a witness (C2SP tlog-witness) until SIGTERM or Ctrl-C, in a process of its own."""
    known = _logs(logs or (), policy)
    if not known and not show_key:
        raise Problem("PC7004", "a witness needs logs: --log or --policy")
    from portcullis.bootstrap.witness import (  # noqa: PLC0415 - a second, for this command alone
        gate_around,
        opened_witness,
        running_witness,
    )

    if show_key and (state / VKEY).exists():
        _show((state / VKEY).read_text("utf-8").strip(), as_json=as_json)
        return
    gate = gate_around(state)
    if gate is not None:
        _warn(f"{state} lies in the state of a gate ({gate}): who puts one back puts back both")
    keys = None if config is None else load(config).keys
    with opened_witness(state, name, known, keys=keys) as opened:
        if show_key:
            _show(opened.vkey, as_json=as_json)
        else:
            asyncio.run(_serve(running_witness(opened, listen), as_json=as_json))


async def _serve(
    running: contextlib.AbstractAsyncContextManager[RunningWitness], *, as_json: bool
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running as place:
        if as_json:
            print(json.dumps({"url": place.url, "vkey": place.vkey}), flush=True)
        else:
            print(f"{place.vkey} {place.url}", flush=True)
        await stop.wait()


def _show(vkey: str, *, as_json: bool) -> None:
    print(json.dumps({"vkey": vkey}) if as_json else vkey)


def _logs(keys: list[str] | tuple[()], policy: Path | None) -> list[Verifier]:
    found = [load_verifier(key) for key in keys]
    if policy is not None:
        found += [log.verifier for log in load_quorum(policy).logs]
    return found


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
