"""``portcullis audit tail``: the newest events, and those to come; in a terminal, as a view."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portcullis.audit.query import Filter, Record, last, published
from portcullis.audit.verify import read_head
from portcullis.cli.audit_lines import clean, note
from portcullis.cli.audit_place import Directory, Key, Log, logs_at, one_of
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
    back = number + 1 if wanted == Filter() else max(number + 1, _BACK)
    found: list[Record] = []
    places: dict[Log, int] = {}
    for log in logs_at(directory, config, key):
        latest = last(log.place, log.verifier, back)
        found += latest
        places[log] = latest[-1].index + 1 if latest else 0
    found.sort(key=lambda record: record.event.time)
    fitting = [record for record in found if wanted.matches(record.event)]
    shown = fitting[-number:] if number else []
    with contextlib.suppress(KeyboardInterrupt, EOFError):
        if forever and not as_json and interactive():
            _live(shown, places, wanted)
            return
        print_records(shown, as_json=as_json)
        if forever:
            coming = following_on(places, lambda said: note(clean(said)))
            fits = (record for record in coming if wanted.matches(record.event))
            print_records(fits, as_json=as_json)


def following_on(
    places: Mapping[Log, int],
    told: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Record]:
    """The events of these logs, each from the number that it is given on, as they are signed.

    What is new in several at once comes in the order of its time. A log that cannot be read is
    tried again for ten seconds, and ``told`` of once. Then, or when it became shorter than it was,
    Problem.
    """
    followed = [_Followed(log, start, told) for log, start in places.items()]
    while True:
        found = [record for one in followed for record in one.fresh()]
        yield from sorted(found, key=lambda record: record.event.time)
        sleep(_POLL_SECONDS)


class _Followed:
    """One log, as far as it was read."""

    def __init__(self, log: Log, start: int, told: Callable[[str], None]) -> None:
        self._log = log
        self._start = start
        self._told = told
        self._since: float | None = None
        self._most = 0

    def fresh(self) -> list[Record]:
        """What is new in it."""
        found: list[Record] = []
        try:
            for record in published(*self._log, self._start):
                self._since, self._start = None, record.index + 1
                found.append(record)
            size = read_head(*self._log).size
            if size < self._most:
                hint = "Keep what you have seen, and verify it: `portcullis audit verify`."
                raise Problem(
                    "PC6005", f"the log had {self._most} entries and has {size}", hint=hint
                )
            self._since, self._most = None, size
        except Problem as problem:
            if self._since is None:
                self._since = time.monotonic()
                self._told(f"{problem.code} {problem.detail}; trying again")
            elif time.monotonic() - self._since > _PATIENCE_SECONDS:
                raise
        return found


def _live(shown: list[Record], places: Mapping[Log, int], wanted: Filter) -> None:
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
                for record in following_on(places, found.put):
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
