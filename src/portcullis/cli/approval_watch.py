"""``portcullis approval watch``: what waits, as it changes, to be decided on the spot."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from portcullis.cli.approval_lines import lines, row, rules, tool_of
from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.audit_privacy import line
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.terminal import held, interactive
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.cli.watch_screen import Screen, Wish
    from portcullis.cli.watch_source import Snapshot
    from portcullis.config import Config
    from portcullis.control.approvals_api import ApprovalView

_TICK_SECONDS = 1.0
"""So often countdowns move."""


def watch(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Watch the calls that wait, and decide them: j/k, enter, a, d, q. Ctrl-C ends it too.

    What is not a terminal gets one line for each change; with --json an object with `change`
    (waits, reminded, escalated, or what it became: approved, denied, ...; gone where nobody
    knows that) and the `approval`.
    """
    settings = load(config)
    with contextlib.suppress(KeyboardInterrupt, EOFError):
        if json or not interactive():
            _stream(settings, as_json=json)
        else:
            _live(settings)


def changes(before: Iterable[ApprovalView], now: Snapshot) -> list[tuple[str, ApprovalView]]:
    """What happened between two looks, in an order that makes sense of it."""
    known = {one.id: one for one in before}
    found: list[tuple[str, ApprovalView]] = [(_became(one), one) for one in now.settled]
    for one in now.waiting:
        earlier = known.get(one.id)
        if earlier is None:
            found.append(("waits", one))
        if one.reminded_at and not (earlier and earlier.reminded_at):
            found.append(("reminded", one))
        if one.escalated_at and not (earlier and earlier.escalated_at):
            found.append(("escalated", one))
    return found


def _stream(config: Config, *, as_json: bool) -> None:
    """A line for each change, for ever. A fault is said once, until it is over."""
    from portcullis.cli.watch_source import watching  # noqa: PLC0415 - slow

    before: tuple[ApprovalView, ...] = ()
    fault = ""
    with watching(config) as source:
        while True:
            now = source.snapshots.get()
            said = "" if now.fault is None else f"{now.fault.code} {now.fault.detail}"
            if said and said != fault:
                note(clean(said))
            fault = said
            for change, one in changes(before, now):
                if as_json:
                    print_json({"change": change, "approval": one.model_dump(mode="json")})
                else:
                    print(f"{change:9}  {row(one)}", flush=True)
            before = now.waiting


def _live(config: Config) -> None:
    """The view, until it is left."""
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.live import Live  # noqa: PLC0415 - the same

    from portcullis.cli.watch_screen import Screen  # noqa: PLC0415 - slow
    from portcullis.cli.watch_source import Snapshot, watching  # noqa: PLC0415 - the same
    from portcullis.cli.watch_view import view  # noqa: PLC0415 - the same

    console = Console(highlight=False, markup=False, emoji=False)
    screen, last, quiet = Screen(), Snapshot(), True
    with (
        held() as keys,
        watching(config, keys.wake) as source,
        Live(console=console, screen=True, auto_refresh=False) as shown,
    ):
        while not screen.done:
            width, height = console.size
            at = time.time()
            shown.update(view(screen, last, now=at, width=width, height=height), refresh=True)
            if not quiet:  # what was typed ahead is for no other call
                quiet = keys.forget()
                last = _newest(screen, source.snapshots, last)
                continue
            for key in keys.wait(_TICK_SECONDS):  # they are for what is on the screen
                wish = screen.press(key)
                if wish is not None:
                    _ask(config, screen, wish)
                    source.look_now()
                    quiet = keys.forget()
                if wish is not None or screen.done:
                    break
            last = _newest(screen, source.snapshots, last)


def _newest(screen: Screen, found: queue.SimpleQueue[Snapshot], last: Snapshot) -> Snapshot:
    with contextlib.suppress(queue.Empty):
        while True:
            last = found.get_nowait()
            for one in last.settled:
                what = f"{tool_of(one)} of {one.agent}"
                screen.said = f"{_became(one)}: {one.id} {what} {_by(one)}"
    screen.update(last.waiting)
    return last


def _became(one: ApprovalView) -> str:
    return "gone" if one.state == "pending" else one.state


def _by(one: ApprovalView) -> str:
    return f"by {one.decided_by}" if one.decided_by else ""


def _ask(config: Config, screen: Screen, wish: Wish) -> None:
    """Do what was wished, as the command of that name does, and show what came of it."""
    from portcullis.cli.operate import operations  # noqa: PLC0415 - slow

    try:
        with operations(config) as work:
            if wish.verb == "show":
                detail = work.approval(wish.approval)
                if detail.call is None:
                    screen.back("it is decided: the call itself is not kept any longer")
                else:
                    screen.show([*rules(detail), *lines(detail.call)])
                return
            decide: Any = work.approve if wish.verb == "approve" else work.deny
            done = decide(wish.approval, line(wish.reason))
            screen.decided(done.id, done.state)
    except Problem as problem:
        screen.back(f"{problem.code} {problem.entry.title}: {problem.detail}")
