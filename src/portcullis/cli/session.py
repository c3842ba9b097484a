"""``portcullis session``: open, show and close sessions at the gate that runs.

Sessions belong to applications. As the operator of this machine the command asks for a join token
of the one that ``--application`` names, enrols with it as any workload does, with a key that stays
in memory, and acts over mutual TLS. All of it is recorded.
"""

from __future__ import annotations

import asyncio
import json as codec
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from portcullis import client
from portcullis.cli import principals, quarantine
from portcullis.cli.operate import RunningGate, operations, running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.client.ask import ask
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.wire.json import decode

app = typer.Typer(no_args_is_help=True)

_JOIN_SECONDS = 60
_DIGITS = 18
Application = Annotated[str, typer.Option(help="Act as this registered application.")]
SessionId = Annotated[str, typer.Argument(help="The session's id.")]

quarantine.add_to(app, "session")


@app.command("open")
def open_session(
    agent: Annotated[str, typer.Argument(help="The agent that will act.")],
    application: Application,
    user: Annotated[str, typer.Option(help="The user for whom it acts.")],
    prompt: Annotated[str, typer.Option(help="What the user asked for, word for word.")],
    subject: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the row scope; repeatable.")
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(
            help="server.tool that the task needs, or with bounds "
            '{"tool": "server.tool", "arguments": {"amount": {"maximum": 100}}}; repeatable.'
        ),
    ] = None,
    *,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Most tool calls, and most of them that do not only read: calls=50,effects=5."
        ),
    ] = None,
    output_schema: Annotated[
        Path | None, typer.Option(help="File with the JSON Schema of a model's final answer.")
    ] = None,
    ttl: Annotated[int | None, typer.Option(min=1, help="Lifetime in seconds.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Open a session and print the token that the agent acts under."""
    body = {
        "agent": agent,
        "user": user,
        "prompt": prompt,
        "subject": dict(_pair(item) for item in subject or []),
        "tools": None if tool is None else [_tool(one) for one in tool],
        "ttl_seconds": ttl,
        "output_schema": None if output_schema is None else _schema(output_schema),
        "budget": None if budget is None else _budget(budget),
    }
    opened = _ask(config, application, "POST", "/v1/sessions", body)
    if json:
        print(codec.dumps(opened))
        return
    sys.stderr.write(f"session {opened['session']}\n")
    print(opened["token"])


@app.command()
def say(
    session: SessionId,
    application: Application,
    prompt: Annotated[str, typer.Option(help="What the user said next, word for word.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Add what the user said next: from then on it is the user's own word."""
    found = _ask(config, application, "POST", f"{_path(session)}/turns", {"prompt": prompt})
    sys.stderr.write(f"session {session}: {found['turns']} turns since it was opened\n")
    if json:
        print(codec.dumps(found))


@app.command()
def show(
    session: SessionId,
    application: Application,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Show an open session of the application's."""
    found = _ask(config, application, "GET", _path(session))
    if json:
        print(codec.dumps(found))
        return
    tools = found["tools"]
    found["tools"] = "all that policy grants" if tools is None else ", ".join(tools)
    bounds = found["bounds"].items()
    found["bounds"] = "; ".join(f"{tool} ({', '.join(said)})" for tool, said in bounds) or "-"
    left, given = found.pop("left"), found["budget"].items()
    found["budget"] = ", ".join(f"{name}: {left[name]} of {n} left" for name, n in given) or "-"
    limits = (
        f"{one['limit']} {one['measure']}: {one['left']} of {one['ceiling']} left"
        for one in found["limits"]
    )
    found["limits"] = ", ".join(limits) or "-"
    for name, value in found.items():
        print(f"{name:10} {principals.moment(value) if name.endswith('_at') else value}")


@app.command()
def close(
    session: SessionId,
    application: Application,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """End a session; its token is refused from the next request on."""
    _ask(config, application, "DELETE", _path(session))
    sys.stderr.write(f"session {session} closed\n")
    if json:
        print(codec.dumps({"session": session, "state": "closed"}))


def _ask(
    config: Path, application: str, method: str, path: str, body: dict[str, Any] | None = None
) -> Any:
    principals.check_name(application)
    settings = load(config)
    gate = running_gate(settings)
    if gate is None:
        hint = "Start it with `portcullis up`."
        raise Problem("PC7005", "sessions live in a gate, and none runs here", hint=hint)
    if not gate.mtls:
        hint = "Set listen.mtls, such as 127.0.0.1:7302."
        raise Problem("PC7005", "applications come over mutual TLS, which is off", hint=hint)
    with operations(settings) as work:
        join = work.join(PrincipalKind.APPLICATION, application, _JOIN_SECONDS).token
    url = _dialled(gate.mtls, settings.listen.names)
    return asyncio.run(_asked(gate, url, join, method, path, body))


async def _asked(
    gate: RunningGate, url: str, join: str, method: str, path: str, body: dict[str, Any] | None
) -> Any:
    async with client.enrolled(gate.gate, gate=url, join_token=join) as identity:
        link = client.Gate(url, identity).link()
        return await ask(method, url + path, context=link.context, json=body)


def _dialled(url: str, names: tuple[str, ...]) -> str:
    """The address under a name that stands in the gate's certificate."""
    parts = urlsplit(url)
    if parts.hostname in names or not names:
        return url
    host = f"[{names[0]}]" if ":" in names[0] else names[0]
    return f"https://{host}:{parts.port}"


def _path(session: str) -> str:
    if not session.isalnum() or not session.isascii():
        raise Problem("PC7004", "a session's id is letters and digits")
    return f"/v1/sessions/{session}"


def _schema(file: Path) -> Any:
    try:
        return decode(file.read_bytes())
    except OSError as error:
        raise Problem("PC7004", f"--output-schema: {file}: {error.strerror}") from None
    except Problem as problem:
        raise Problem("PC7004", f"--output-schema: {file}: {problem.detail}") from None


def _pair(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals:
        raise Problem("PC7004", "--subject is NAME=VALUE")
    return name, value


def _budget(text: str) -> dict[str, int]:
    """``calls=50,effects=5``, in any order; what they may be is for the gate to say."""
    pairs = [item.partition("=") for item in text.split(",")]
    names = [name for name, _, _ in pairs]
    if len(set(names)) < len(names) or not all(
        name and number.isascii() and number.isdigit() and len(number) <= _DIGITS
        for name, _, number in pairs
    ):
        raise Problem("PC7004", "--budget is calls=N,effects=N, or one of them")
    return {name: int(number) for name, _, number in pairs}


def _tool(item: str) -> Any:
    """A tool's name, or the JSON object that bounds its arguments."""
    return decode(item.encode()) if item.startswith("{") else item
