"""``portcullis audit tail``: the newest events, and those to come; in a terminal, as a view."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portcullis.audit.note import Verifier
from portcullis.audit.query import Filter, Record, last, published
from portcullis.audit.verify import read_head
from portcullis.cli.audit_lines import clean, note
from portcullis.cli.audit_place import Directory, Key, log_of, one_of
from portcullis.cli.audit_rows import print_records
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.terminal import held, interactive
from portcullis.core.call import RiskClass
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.cli.audit_view import Rolling

VERDICTS: Final = ("allow", "hold", "deny", "error")
_POLL_SECONDS: Final = 0.25
_PATIENCE_SECONDS: Final = 10.0
"""So long a log may be unreadable: a gate starts anew, a tile is replaced, a share comes back."""
_BACK: Final = 2000
"""Among so many events the last ones that fit are looked for."""


def tail(
    directory: Directory = None,
    number: Annotated[int, typer.Option("-n", min=0, help="How many events.")] = 10,
    forever: Annotated[bool, typer.Option("-f", "--follow", help="Go on as they come.")] = False,
    agent: Annotated[str, typer.Option(help="Only what this agent did.")] = "",
    session: Annotated[str, typer.Option(help="Only in this session.")] = "",
    verdict: Annotated[str, typer.Option(help="Only with this: allow, hold, deny or error.")] = "",
    code: Annotated[str, typer.Option(help="Only with this error code, such as PC3001.")] = "",
    risk: Annotated[str, typer.Option(help="Only read, modify, external or delete.")] = "",
    key: Key = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Print the last events, and with -f those to come: in a terminal as a view (p pause, q quit).

    With --json each is an object with `index` and `event`, the log's own entry.
    """
    one_of("--verdict", verdict, VERDICTS)
    one_of("--code", code, tuple(CODES))
    one_of("--risk", risk, tuple(RiskClass))
    wanted = Filter(principal=agent, session=session, verdict=verdict, code=code, risk=risk)
    place, verifier = log_of(directory, config, key)
    found = last(place, verifier, number + 1 if wanted == Filter() else max(number + 1, _BACK))
    following = found[-1].index + 1 if found else 0
    fitting = [record for record in found if wanted.matches(record.event)]
    shown = fitting[-number:] if number else []
    with contextlib.suppress(KeyboardInterrupt, EOFError):
        if forever and not as_json and interactive():
            _live(shown, place, verifier, following, wanted)
            return
        print_records(shown, as_json=as_json)
        if forever:
            coming = following_on(place, verifier, following, lambda said: note(clean(said)))
            fits = (record for record in coming if wanted.matches(record.event))
            print_records(fits, as_json=as_json)


def following_on(
    place: Path,
    verifier: Verifier,
    start: int,
    told: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Record]:
    """The events from number ``start`` on, for ever, as they are signed.

    A log that cannot be read is tried again for ten seconds, and ``told`` of once. Then, or when
    it became shorter than it was, Problem.
    """
    since: float | None = None
    most = 0
    while True:
        try:
            for record in published(place, verifier, start):
                since, start = None, record.index + 1
                yield record
            size = read_head(place, verifier).size
            if size < most:
                hint = "Keep what you have seen, and verify it: `portcullis audit verify`."
                raise Problem("PC6005", f"the log had {most} entries and has {size}", hint=hint)
            since, most = None, size
        except Problem as problem:
            if since is None:
                since = time.monotonic()
                told(f"{problem.code} {problem.detail}; trying again")
            elif time.monotonic() - since > _PATIENCE_SECONDS:
                raise
        sleep(_POLL_SECONDS)


def _live(
    shown: list[Record], place: Path, verifier: Verifier, following: int, wanted: Filter
) -> None:
    """The view, until it is left; whatever ends the reading ends it too."""
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.live import Live  # noqa: PLC0415 - the same

    from portcullis.cli.audit_view import Rolling, view  # noqa: PLC0415 - the same

    rolling = Rolling(wanted, shown)
    console = Console(highlight=False, markup=False, emoji=False)
    found: queue.SimpleQueue[Record | str | Exception] = queue.SimpleQueue()
    with held() as keys:

        def read() -> None:
            try:
                for record in following_on(place, verifier, following, found.put):
                    found.put(record)
                    keys.wake()
            except Exception as error:  # noqa: BLE001 - raised again where it is seen
                found.put(error)
                keys.wake()

        threading.Thread(target=read, daemon=True).start()
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not rolling.done:
                width, height = console.size
                shape = view(rolling, now=time.time(), width=width, height=height)
                live.update(shape, refresh=True)
                for key in keys.wait(_POLL_SECONDS):
                    rolling.press(key)
                _take(rolling, found)


def _take(rolling: Rolling, found: queue.SimpleQueue[Record | str | Exception]) -> None:
    """What has come since."""
    with contextlib.suppress(queue.Empty):
        while True:
            one = found.get_nowait()
            if isinstance(one, Exception):
                raise one
            if isinstance(one, str):
                rolling.said = one
            else:
                rolling.add(one, time.time())
