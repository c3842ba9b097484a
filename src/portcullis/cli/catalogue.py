"""``portcullis catalogue``: tools as they were approved, and as their servers describe them now.

What a server writes is shown with every character that does not show itself spelt out, and is
never to be trusted: it may be written for whoever approves it.
"""

from __future__ import annotations

import difflib
import json as codec
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from portcullis.catalogue.draft import draft as drafted
from portcullis.cli.operate import Operations, operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.principals import moment
from portcullis.cli.progress import progress
from portcullis.config import load
from portcullis.control.catalogue_api import DefinitionView, ToolView
from portcullis.core.errors import Problem

app = typer.Typer(no_args_is_help=True)
Server = Annotated[str | None, typer.Option(help="Only this server's tools.")]
Tools = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TOOL]...", show_default=False, help="Tools, as the server has them."),
]


@app.command("list")
def list_tools(
    *, server: Server = None, config: ConfigFile = DEFAULT_CONFIG, json: Json = False
) -> None:
    """List the tools that were ever seen: pinned, changed or suspect."""
    with operations(load(config)) as work:
        tools = _chosen(work, server, None)
    if json:
        print(codec.dumps({"tools": [tool.model_dump(mode="json") for tool in tools]}))
        return
    for tool in tools:
        print(_row(tool))


@app.command()
def diff(
    tool: Tools = None,
    *,
    server: Server = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Show how tools differ from what is pinned; all that do, when none is named."""
    with operations(load(config)) as work:
        found = [
            work.tool(one.server, one.tool)
            for one in _chosen(work, server, tool)
            if tool or one.state != "pinned"
        ]
    if json:
        print(codec.dumps({"tools": [one.model_dump(mode="json") for one in found]}))
        return
    _show(found)


@app.command()
def draft(
    server: Annotated[str, typer.Option(help="The server whose tools they are.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to this new file.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Write a draft of the policy's `tools:` for a server, from what it says of them.

    It is made of guesses: it does not load until somebody has read it and says so.
    With --json: `server`, `tools` (how many) and the `draft`, or the `file` it is in.
    """
    with operations(load(config)) as work:
        chosen = _chosen(work, server, None)
        with progress("asking for definitions", len(chosen), quiet=json) as advance:
            found = []
            for one in chosen:
                found.append(work.tool(one.server, one.tool))
                advance(1)
    if not found:
        hint = "A server's tools are known once an agent has listed them."
        raise Problem("PC7017", f"no tool of {server} was ever seen", hint=hint)
    text = drafted(
        server, {one.tool: one.seen_definition or one.pinned_definition for one in found}
    )
    if output is None:
        about = {"server": server, "tools": len(found), "draft": text}
        sys.stdout.write(codec.dumps(about) + "\n" if json else text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Problem("PC7005", f"{output} cannot be written: {error.strerror}") from None
    if json:
        print(codec.dumps({"server": server, "tools": len(found), "file": str(output)}))
    sys.stderr.write(f"{len(found)} tools are in {output}: read every line of it\n")


@app.command()
def pin(
    server: Annotated[str, typer.Option(help="The server whose tools they are.")],
    tool: Tools = None,
    *,
    digest: Annotated[
        str | None, typer.Option(help="Approve one tool, if this is what was last seen.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve what is shown.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Approve tools as they were last seen: those named, or all of the server's that are not.

    It shows them and approves nothing without --yes, or the --digest of the one tool.
    """
    if digest is not None and len(tool or ()) != 1:
        raise Problem("PC7004", "--digest is for one tool, which is named")
    with operations(load(config)) as work:
        found = [
            work.tool(one.server, one.tool)
            for one in _chosen(work, server, tool)
            if tool or one.state != "pinned"
        ]
        if digest is None:
            _show(found)
        if found and digest is None and not yes:
            raise Problem("PC7004", "nothing was approved: say --yes, or --digest for one tool")
        done = [work.pin(one.server, one.tool, digest or _last(one)) for one in found]
    if json:
        print(codec.dumps({"tools": [one.model_dump(mode="json") for one in done]}))
    for one in done:
        typer.echo(f"approved {_shown(f'{one.server}.{one.tool}')} {one.digest}", err=True)


def _chosen(work: Operations, server: str | None, names: Sequence[str] | None) -> list[ToolView]:
    """The server's tools, or those of these names; Problem PC7017 for a name of none."""
    tools = [tool for tool in work.tools() if server in {None, tool.server}]
    if not names:
        return tools
    missing = set(names) - {tool.tool for tool in tools}
    if missing:
        raise Problem("PC7017", f"no tool {_shown(min(missing))} was seen")
    return [tool for tool in tools if tool.tool in names]


def _last(tool: ToolView) -> str:
    return tool.digest if tool.seen is None else tool.seen.digest


def _row(tool: ToolView) -> str:
    if tool.seen is not None:
        what = f"seen {moment(tool.seen.seen_at)} {tool.seen.digest}"
        what += f" ({', '.join(tool.seen.reasons)})" if tool.seen.reasons else ""
    else:
        by = tool.approved_by or "first sight"
        what = f"pinned {moment(tool.pinned_at or 0)} {tool.digest} by {by}"
    return f"{tool.state:8} {_shown(f'{tool.server}.{tool.tool}')}  {_shown(what)}"


def _show(tools: Sequence[DefinitionView]) -> None:
    if not tools:
        typer.echo("every tool is as it is pinned", err=True)
        return
    warning = "warning: what follows is the servers' own text; follow nothing that it says"
    typer.echo(warning, err=True)
    for tool in tools:
        print(_row(tool))
        for line in _compared(tool):
            print(_shown(line))


def _compared(tool: DefinitionView) -> Iterator[str]:
    """The unified diff of the definitions, or the pinned one where there is no other."""
    before, after = _lines(tool.pinned_definition), _lines(tool.seen_definition)
    if tool.seen is None:
        yield from before
        return
    names = ("pinned", "seen")
    yield from difflib.unified_diff(before, after, *names, n=3, lineterm="")


def _lines(definition: str) -> list[str]:
    if not definition:
        return []
    value = codec.loads(definition)
    return codec.dumps(value, indent=2, ensure_ascii=False).split("\n")


def _shown(text: str) -> str:
    """The text with everything spelt out that a terminal would not show as it is."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape").decode("ascii", "replace")
        for character in text
    )
