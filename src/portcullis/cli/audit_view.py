"""How events that come look in a terminal: newest below, coloured by what was decided."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.audit.query import Filter, Record
from portcullis.cli.audit_lines import clean
from portcullis.cli.audit_rows import outcome_of, what_of
from portcullis.cli.watch_view import COLOURS

_KEPT: Final = 1000
_AROUND: Final = 5
"""Lines that are not rows: title, header, rates and keys."""
_RATE_SECONDS: Final = 10.0
_VERDICTS: Final = {"allow": "green", "hold": "yellow", "deny": "red", "error": "bold red"}


class Rolling:
    """What is shown, and how fast it comes. ``p`` pauses what is seen, nothing else."""

    def __init__(self, wanted: Filter, shown: Iterable[Record] = ()) -> None:
        self.wanted = wanted
        self.paused: tuple[Record, ...] | None = None
        self.done = False
        self.said = ""
        self.lag: float | None = None
        self._kept: deque[Record] = deque(shown, maxlen=_KEPT)
        self._arrived: deque[float] = deque()
        self._since = 0

    @property
    def rows(self) -> tuple[Record, ...]:
        """What is to be seen, the newest last."""
        return tuple(self._kept) if self.paused is None else self.paused

    @property
    def unseen(self) -> int:
        """How many that fit came since the pause."""
        return 0 if self.paused is None else self._since

    def add(self, record: Record, now: float) -> None:
        """One more event, read ``now``; it counts, whether it fits or not."""
        self.said = ""
        self.lag = max(0.0, now - record.event.time.timestamp())
        self._arrived.append(now)
        if self.wanted.matches(record.event):
            self._kept.append(record)
            self._since += 1

    def rate(self, now: float) -> float:
        """Events a second, over the last ten."""
        while self._arrived and self._arrived[0] < now - _RATE_SECONDS:
            self._arrived.popleft()
        return len(self._arrived) / _RATE_SECONDS

    def press(self, key: str) -> None:
        """A key."""
        if key in {"q", "escape"}:
            self.done = True
        elif key in {"p", " "}:
            self.paused = None if self.paused is not None else tuple(self._kept)
            self._since = 0


def view(rolling: Rolling, *, now: float, width: int, height: int) -> RenderableType:
    """The whole of the terminal. ``now`` is in seconds since the epoch."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), expand=True, show_edge=False)
    wide = width >= 100  # noqa: PLR2004 - columns
    shares = {"time": 0, "verdict": 0, "risk": 0, "who": 2, "what": 3, "code": 0, "came back": 2}
    shares |= {"session": 2} if wide else {}
    for name, share in shares.items():
        table.add_column(name, no_wrap=True, ratio=share or None)
    for record in rolling.rows[-max(1, height - _AROUND) :]:
        table.add_row(*_cells(record)[: len(shares)])
    foot = [Text(_pace(rolling, now)), Text("p pause  q quit", style="dim")]
    if rolling.said:
        foot.insert(0, Text(clean(rolling.said), style="yellow"))
    for line in foot:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(table, *foot)


def _cells(record: Record) -> tuple[Text, ...]:
    event = record.event
    return (
        Text(f"{event.time:%H:%M:%S}"),
        Text(clean(event.verdict or event.type), style=_VERDICTS.get(event.verdict, "")),
        Text(clean(event.risk), style=COLOURS.get(event.risk, "")),
        Text(clean(event.principal or "-")),
        Text(clean(" ".join(what_of(event)))),
        Text(clean(event.code), style="red"),
        Text(clean(outcome_of(event) or event.reason)),
        Text(clean(event.session), style="dim"),
    )


def _pace(rolling: Rolling, now: float) -> str:
    lag = "" if rolling.lag is None else f", read {rolling.lag:.1f} s after it happened"
    fitting = {name: value for name, value in _asked(rolling.wanted) if value}
    only = "".join(f"  {name}={clean(value)}" for name, value in fitting.items())
    paused = "" if rolling.paused is None else f"  PAUSED, {rolling.unseen} more"
    return f"{rolling.rate(now):.1f} events/s{lag}{only}{paused}"


def _asked(wanted: Filter) -> Iterable[tuple[str, str]]:
    return (
        ("agent", wanted.principal),
        ("session", wanted.session),
        ("verdict", wanted.verdict),
        ("code", wanted.code),
        ("risk", wanted.risk),
    )
