"""``portcullis notify``: channels to people outside the gate."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from portcullis.bootstrap.notices import notices_of, told_once
from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.principals import moment
from portcullis.config import load
from portcullis.core.notice import Notice

app = typer.Typer(no_args_is_help=True)
MOST = 1000


@app.command("test")
def send_test(
    name: Annotated[str, typer.Argument(help="The channel's name in the configuration.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Send a channel a test message; exit 1 when it does not take it."""
    asyncio.run(told_once(load(config), name))
    note(f"{clean(name)} took the message")
    if json:
        print_json({"channel": name, "state": "told"})


@app.command("list")
def list_notices(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also what is told.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """List what channels are still to be told, and what was given up; the newest first."""
    with notices_of(load(config)) as notices:
        found = notices.list(MOST) if notices is not None else ()
    shown = [one for one in found if everything or one.state != "told"]
    if json:
        print_json({"notices": [_view(one) for one in shown]})
        return
    for one in shown:
        print(clean(_row(one)))


def _row(one: Notice) -> str:
    if one.alert is not None:
        return _told(one, f"alert {one.alert.rule} ({one.alert.level})")
    what = f"{one.server}.{one.name}" if one.server else one.name
    return _told(one, f"{one.agent}  {what}  {len(one.subjects)} approvals")


def _told(one: Notice, what: str) -> str:
    when = f"next {moment(one.next_at)}" if one.state == "due" else f"told {moment(one.told_at)}"
    row = f"{one.id}  {one.channel}  {one.state:6} {what}  {one.attempts} failed attempts  {when}"
    return row + (f"  {one.fault}" if one.fault else "")


def _view(one: Notice) -> dict[str, object]:
    wanted = ("id", "channel", "state", "agent", "server", "name", "risk", "turn", "attempts")
    times = ("opened_at", "told_at", "next_at", "fault")
    return {name: getattr(one, name) for name in (*wanted, *times)} | {
        "alert": msgspec.to_builtins(one.alert),
        "approvals": [] if one.alert else msgspec.to_builtins(one.subjects),
    }
