"""``portcullis policy diff``: which decisions of the past would be others under another policy."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.cli.audit_lines import clean, moment, note
from portcullis.cli.audit_place import places_of
from portcullis.cli.audit_privacy import line
from portcullis.cli.json_lines import plain, without_kind, write_line
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.policy_reach import show_new
from portcullis.cli.policy_text import named
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem
from portcullis.policy.pdp import PRODUCTION

if TYPE_CHECKING:
    from portcullis.core.event import Event
    from portcullis.review.replay import Group, Replayed, Summary
    from portcullis.review.replay_asked import Contents

_FAILED = 5
_READ = 4096
"""Events whose content is kept in mind: what is read twice is one reading."""
_WORDS = ("changed", "undetermined", "new")

Reading = Annotated[
    str,
    typer.Option(
        "--content",
        metavar="REASON",
        help="Read the sealed content of calls, where it is kept and needed, for this reason. "
        "Each reading is an event.",
    ),
]


def diff(
    old: Annotated[str, typer.Argument(help="What calls were decided by: a folder, or a release.")],
    new: Annotated[
        str, typer.Argument(help="What is to come: a policy folder, or a release's number.")
    ],
    *,
    since: Annotated[str, typer.Option(help="ISO 8601, included; UTC if it says nothing.")] = "",
    agent: Annotated[list[str] | None, typer.Option(help="Only this agent; repeatable.")] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option(help="A log's folder; repeatable. Default: all of the configuration."),
    ] = None,
    content: Reading = "",
    each: Annotated[bool, typer.Option("--each", help="List every decision, not groups.")] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with 5 when there is one: changed, undetermined or new; repeatable."
        ),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Replay the audit log against two policies and list every decision that would change.

    Nothing is activated. What the log does not tell is not guessed: such a call is undetermined.
    """
    from portcullis.review.growth import growth  # noqa: PLC0415 - slow
    from portcullis.review.replay import Replay  # noqa: PLC0415 - the same
    from portcullis.review.replay_asked import events  # noqa: PLC0415 - the same
    from portcullis.review.replay_side import Side  # noqa: PLC0415 - the same

    wanted = frozenset(fail_on or ())
    if not wanted <= set(_WORDS):
        raise Problem("PC7004", f"--fail-on is one of {', '.join(_WORDS)}")
    environment = load(config).environment if config.exists() else PRODUCTION
    sides = Side(named(old, config), environment), Side(named(new, config), environment)
    places = tuple(log or ()) or places_of(config)
    with contents(config, content) as reading:
        replay = Replay(
            *sides, since=moment(since), contents=reading, agents=frozenset(agent or ())
        )
        began = time.perf_counter()
        with progress("replaying", quiet=as_json) as advance:
            for found in replay.run(_counted(events(places, moment(since)), advance)):
                if each or as_json:
                    _each(found, as_json=as_json)
    told, seconds = replay.summary, time.perf_counter() - began
    gained = growth(sides[0].policy, sides[1].policy)
    gained = tuple(one for one in gained if not agent or one.agent in agent)
    for one in gained:
        show_new(one, as_json=as_json)
    _summary(told, seconds, grouped=not each, as_json=as_json)
    there = {"changed": told.changed, "undetermined": told.undetermined, "new": len(gained)}
    if any(there[word] for word in wanted):
        raise typer.Exit(_FAILED)


@contextlib.contextmanager
def contents(config: Path, reason: str) -> Iterator[Contents | None]:
    """Reads the sealed content of events for a reason, each of which is recorded; None for none.

    Where nothing is kept, or only for others' keys, there is nothing.
    """
    if not reason:
        yield None
        return
    from portcullis.cli.operate import operations  # noqa: PLC0415 - slow

    why = line(reason)
    with operations(load(config)) as work:

        @lru_cache(_READ)
        def reading(event: str) -> Mapping[str, bytes]:
            try:
                found = work.content(event, why).fields
            except Problem as problem:
                if problem.code != "PC6041":
                    raise
                return {}
            return {one.name: one.value.encode() for one in found if not one.sealed}

        yield reading


def _counted(found: Iterator[Event], advance: Callable[[int], None]) -> Iterator[Event]:
    for one in found:
        advance(1)
        yield one


def _each(found: Replayed, *, as_json: bool) -> None:
    if as_json:
        write_line({"kind": "decision", "outcome": found.kind, **without_kind(found)})
        return
    when = f"{found.time:%Y-%m-%dT%H:%M:%SZ}"
    what = f"{found.agent} {found.action} {found.target}"
    sys.stdout.write(f"{clean(f'{when} {found.kind} {what}: {_change(found)} ({found.id})')}\n")


def _summary(told: Summary, seconds: float, *, grouped: bool, as_json: bool) -> None:
    rate = round(told.decisions / seconds * 60) if seconds else 0
    if as_json:
        for group in told.groups:
            write_line({"kind": "group", "outcome": group.kind, **without_kind(group)})
        counts = {key: value for key, value in plain(told).items() if key != "groups"}
        write_line({"kind": "summary", **counts, "seconds": round(seconds, 3), "per_minute": rate})
        return
    for group in told.groups if grouped else ():
        _group(group)
    said = (
        f"{told.decisions} decisions replayed: {told.changed} changed, {told.undetermined} "
        f"undetermined, {told.same} the same"
    )
    sys.stdout.write(f"{said}\n")
    if told.left_out:
        note(f"{told.left_out} changes are in no group: there are too many; see --each")
    if told.undetermined:
        note("undetermined: it goes by values that the log does not tell; --content reads them")
    note(f"{rate} decisions a minute")


def _group(group: Group) -> None:
    what = f"{group.agent} {group.action} {group.target}: {_change(group)}"
    times = f"{group.first:%Y-%m-%d %H:%M} .. {group.last:%Y-%m-%d %H:%M}"
    why = f", by {', '.join(group.unknown)}" if group.kind == "undetermined" else ""
    sys.stdout.write(f"{clean(f'{group.kind:12} {group.count:6}  {what}{why}  {times}')}\n")
    sys.stdout.write(f"{'':21}{clean(' '.join(group.events))}\n")


def _change(found: Replayed | Group) -> str:
    return f"{' or '.join(found.old)} -> {' or '.join(found.new)}"
