"""How the view of what waits looks: a table, one call, or a line to type in.

Whatever an agent chose goes into ``Text``, cleaned: never through markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.cells import set_cell_size
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.cli.approval_lines import tool_of
from portcullis.cli.audit_lines import clean
from portcullis.cli.watch_screen import NAME_WIDTH, Mode, Screen

if TYPE_CHECKING:
    from portcullis.cli.watch_source import Snapshot
    from portcullis.control.approvals_api import ApprovalView

COLOURS: Final = {"read": "green", "modify": "yellow", "external": "magenta", "delete": "bold red"}
"""By risk class; what is none of these is as bad as the worst."""
_AROUND: Final = 6
"""Lines that are not rows: title, header, status and what is typed."""
_KEYS: Final = {
    Mode.LIST: "j/k choose  enter show  a approve  d deny  q quit",
    Mode.SHOW: "j/k scroll  a approve  d deny  q back",
    Mode.NAME: "enter go on  escape back",
    Mode.REASON: "enter decide  escape back",
}


def view(screen: Screen, last: Snapshot, *, now: float, width: int, height: int) -> RenderableType:
    """The whole of the terminal. ``now`` is in seconds since the epoch."""
    room = max(1, height - _AROUND)
    body = _call(screen, width, room) if screen.mode is Mode.SHOW else _table(screen, now, room)
    return Group(_title(screen, last), body, *_foot(screen, last, width))


def _title(screen: Screen, last: Snapshot) -> Text:
    source = "the gate" if last.gate else "the database: no gate runs"
    how = ", live" if last.live else ""
    beyond = max(0, last.total - len(last.waiting))
    only = f", the oldest {len(screen.rows)} are here" if beyond else ""
    said = f"{len(screen.rows) + beyond} calls wait{only}  ({source}{how})"
    return Text(said, style="bold", no_wrap=True)


def _table(screen: Screen, now: float, room: int) -> RenderableType:
    if not screen.rows:
        return Text("Nothing waits.")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), expand=True, show_edge=False)
    for name, share in (("", 0), ("risk", 0), ("agent", 2), ("calls", 3), ("left", 0), ("", 0)):
        table.add_column(name, no_wrap=True, ratio=share or None)
    first = max(0, min(screen.place - room // 2, len(screen.rows) - room))
    for one in screen.rows[first : first + room]:
        chosen = one.id == screen.chosen
        style = "reverse" if chosen else ""
        table.add_row(Text(">" if chosen else " "), *_cells(one, now), style=style)
    return table


def _cells(one: ApprovalView, now: float) -> tuple[Text, ...]:
    marks = [("escalated", one.escalated_at), ("reminded", one.reminded_at)]
    mark = next((name for name, at in marks if at), "")
    return (
        Text(clean(one.risk), style=COLOURS.get(one.risk, COLOURS["delete"])),
        Text(clean(one.agent)),
        Text(clean(tool_of(one))),
        left(one.expires_at - now),
        Text(mark, style="bold red" if mark == "escalated" else "yellow"),
    )


def left(seconds: float) -> Text:
    """How long something lasts, red in its last five minutes."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    said = f"{hours}h{minutes:02}m" if hours else f"{minutes}m{whole % 60:02}s"
    said = f"{hours // 24}d" if hours >= 48 else said  # noqa: PLR2004 - days of a call that long
    return Text(said, style="bold red" if whole < 300 else "")  # noqa: PLR2004 - said above


def _call(screen: Screen, width: int, room: int) -> Text:
    """All of a call from its line ``top`` on, and how much of it follows."""
    found = Text("What follows is the agent's own text: follow nothing that it says.\n", "italic")
    rows = screen.folded(width)
    end = screen.top + room - 1
    for name, part in rows[screen.top : end]:
        found.append(set_cell_size(name, NAME_WIDTH), "bold").append(f"{part}\n")
    if end < len(rows):
        found.append(f"... {len(rows) - end} more lines", "bold yellow")
    return found


def _foot(screen: Screen, last: Snapshot, width: int) -> list[Text]:
    found = []
    target = screen.target
    if target is not None and screen.mode in {Mode.NAME, Mode.REASON}:
        gone = "" if any(one.id == target.id for one in screen.rows) else ", which waits no more"
        what = (
            f"{screen.verb} {target.id}{gone}, {target.risk}: {tool_of(target)} of {target.agent}"
        )
        found.append(Text(clean(what), style="bold"))
        asked = "type what it calls" if screen.mode is Mode.NAME else "why"
        shown = clean(screen.typed)[-max(1, width - len(asked) - 4) :]
        found.append(Text(f"{asked}: {shown}_"))
    if last.fault is not None:
        found.append(Text(clean(f"{last.fault.code} {last.fault.detail}"), style="red"))
    refused = (f"{clean(agent)} may not ask: too much was denied" for agent in last.frozen[:3])
    found += [Text(said, style="yellow") for said in refused]
    if screen.said:
        found.append(Text(clean(screen.said), style="bold yellow"))
    found.append(Text(_KEYS[screen.mode], style="dim"))
    for line in found:
        line.no_wrap, line.overflow = True, "ellipsis"
    return found
