"""The demonstration on a terminal: what ``portcullis demo`` prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from rich.console import Console

from portcullis.demo.narrate import Narrator
from portcullis.demo.run import Told, perform
from portcullis.demo.stage import Stage

_OPENING: Final = (
    "A support agent (the official openai, anthropic and mcp clients) works through\n"
    "a gate: its tools are MCP servers over SQLite, its model is a STAND-IN for\n"
    "development with fixed answers, not a model. Everything runs on this machine."
)


def once(folder: Path, *, as_json: bool) -> bool:
    """Tell the story with its state in ``folder`` and stop; returns whether it went as told."""
    narrator = Narrator(Console(file=sys.stderr if as_json else sys.stdout, highlight=False))
    if not as_json:
        narrator.opening(_OPENING)
    told = uvloop.run(perform(folder, (lambda _: None) if as_json else narrator.step))
    if as_json:
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    else:
        narrator.closing(ok=told.ok, steps=len(told.steps))
    return told.ok


def stay(folder: Path) -> bool:
    """Tell the story, then keep everything up until SIGINT or SIGTERM."""
    narrator = Narrator(Console(highlight=False))
    narrator.opening(_OPENING)

    def try_next(told: Told, stage: Stage, exports: Path) -> None:
        narrator.closing(ok=told.ok, steps=len(told.steps))
        narrator.verbatim(_try_next(stage, exports))

    return uvloop.run(perform(folder, narrator.step, try_next)).ok


def _try_next(stage: Stage, exports: Path) -> str:
    gate, config, program = stage.gate, stage.config, _program()
    return f"""
Everything is still up. In another terminal:

  . {exports}   # the agent's token, for one hour
  curl -s $OPENAI_BASE_URL/chat/completions \\
    -H "Authorization: Bearer $OPENAI_API_KEY" -H 'Content-Type: application/json' \\
    -d '{{"model": "gpt-standin", "messages": [{{"role": "user", "content": "Hello"}}]}}'
  {program} audit tail -c {config}
  {program} audit verify -c {config}
  {program} policy check -c {config}

  edit {config.parent / "policy" / "support.yaml"} and try again: the gate reloads it

  gate     {gate.gate_url}   (/openai/v1, /anthropic, /mcp/orders, ...)
  control  {gate.control_url}

Ctrl-C ends it.
"""


def _program() -> str:
    """This command as it can be typed in another terminal in the same folder."""
    return sys.argv[0] if "/" in sys.argv[0] and os.access(sys.argv[0], os.X_OK) else "portcullis"
