"""``portcullis explain CODE``: what an error code means and what to do."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Annotated

import typer

from portcullis.cli.options import Json
from portcullis.core.codes import CODES, RANGES
from portcullis.core.errors import Problem
from portcullis.core.methods import METHODS


def explain(
    code: Annotated[
        str | None, typer.Argument(help="A code such as PC3004, or an event's method.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Explain an error code, or the method of an event in the log; without one, list the codes.

    With --json: `code`, `title`, `about`, `hint`, `http_status` and `json_rpc_code`; of an event
    `method` and `about`.
    """
    if code is None:
        rows = {name: {"title": entry.title, "hint": entry.hint} for name, entry in CODES.items()}
        if as_json:
            print(json.dumps(rows, indent=2))
        else:
            for name, row in rows.items():
                print(f"{name}  {row['title']}")
        return
    if code in METHODS:
        said = {"method": code, "about": METHODS[code]}
        print(json.dumps(said) if as_json else f"{code}: {METHODS[code]}")
        return
    name = code.upper() if not code.isdigit() else f"PC{code}"
    entry = CODES.get(name)
    if entry is None:
        near = [one for one in CODES if one[:5] == name[:5]] or get_close_matches(name, CODES, 5)
        hint = f"Near it: {', '.join(near)}." if near else None
        raise Problem("PC7006", f"there is no code {name[:20]!r}", hint=hint)
    known = {
        "code": name,
        "title": entry.title,
        "about": RANGES[name[:3]],
        "hint": entry.hint,
        "http_status": entry.status,
        "json_rpc_code": entry.rpc,
    }
    if as_json:
        print(json.dumps(known, indent=2))
        return
    print(f"{name}: {entry.title}")
    print(f"  where   {known['about']}")
    print(f"  do      {entry.hint}")
    print(f"  answer  HTTP {entry.status}; JSON-RPC {entry.rpc} on MCP routes")
