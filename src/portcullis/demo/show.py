"""The demonstration on a terminal: what ``portcullis demo`` prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from rich.console import Console

from portcullis.demo.asked import WAITING
from portcullis.demo.cast import AGENT, Cast
from portcullis.demo.narrate import Narrator
from portcullis.demo.run import Told, perform

_OPENING: Final = (
    "A support agent (the official openai, anthropic and mcp clients) works through\n"
    "a gate. Its clients know a base URL; its side process holds its certificate and\n"
    "speaks mutual TLS. Its tools are MCP servers over SQLite, its model is a STAND-IN\n"
    "for development with fixed answers, not a model. All runs on this machine."
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

    return uvloop.run(perform(folder, narrator.step, _Staying(narrator))).ok


class _Staying:
    """Tells whoever stays what to try, and what came of what they approved."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator

    def over(self, told: Told, cast: Cast, exports: Path) -> None:
        self._narrator.closing(ok=told.ok, steps=len(told.steps))
        self._narrator.verbatim(_try_next(cast, exports))

    def later(self, line: str) -> None:
        self._narrator.verbatim(line)


def _try_next(cast: Cast, exports: Path) -> str:
    gate, config, program = cast.stage.gate, cast.stage.config, _program()
    return f"""
Everything is still up, and a call waits for you: the {WAITING}. In another terminal:

  {program} console -c {config}   # prints a link; open it, read, and press a or d

  . {exports}   # the agent's side process, and a session of one hour
  curl -s $OPENAI_BASE_URL/chat/completions \\
    -H "Authorization: Bearer $OPENAI_API_KEY" -H 'Content-Type: application/json' \\
    -d '{{"model": "gpt-standin", "messages": [{{"role": "user", "content": "Hello"}}]}}'
  {program} audit tail -c {config}
  {program} audit verify -c {config}
  {program} policy check -c {config}

  {program} agent suspend {AGENT} -c {config}
  {program} agent resume {AGENT} -c {config}

  edit {config.parent / "policy" / "support.yaml"} and try again: the gate reloads it

  agent    {cast.base}   (/openai/v1, /anthropic, /mcp/orders, ...)
  gate     {gate.mtls_url} (mutual TLS), {gate.gate_url}
  control  {gate.control_url}

Ctrl-C ends it.
"""


def _program() -> str:
    """This command as it can be typed in another terminal in the same folder."""
    return sys.argv[0] if "/" in sys.argv[0] and os.access(sys.argv[0], os.X_OK) else "portcullis"
