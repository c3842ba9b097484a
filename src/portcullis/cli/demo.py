"""``portcullis demo``: the whole line with real clients on both sides, told step by step."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from portcullis.cli.options import Json
from portcullis.core.errors import Problem

_NEEDS = ("anthropic", "httpx2", "mcp", "openai")
_STATE = Path("portcullis-state/demo")


def demo(
    once: Annotated[bool, typer.Option("--once", help="Tell the story and exit.")] = False,
    json: Json = False,
    state: Annotated[
        Path | None,
        typer.Option(help="Where to keep everything (default: temporary with --once)."),
    ] = None,
) -> None:
    """Run a support agent, its tools and a stand-in model through a gate, step by step.

    Without --once everything stays up afterwards, to be tried by hand. Exit code 0 when every
    step went as told. With --json (which implies --once) stdout holds one JSON object.
    """
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise Problem(
            "PC7005",
            f"the demonstration needs {', '.join(missing)}",
            hint="Install agent-portcullis[demo].",
        )
    from portcullis.demo import show  # noqa: PLC0415 - needs the packages checked above

    if not (once or json):
        ok = show.stay(state or _STATE)
    elif state is not None:
        ok = show.once(state, as_json=json)
    else:
        with tempfile.TemporaryDirectory(prefix="portcullis-demo-") as folder:
            ok = show.once(Path(folder) / "demo", as_json=json)
    raise typer.Exit(0 if ok else 1)
