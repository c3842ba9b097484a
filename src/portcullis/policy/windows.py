"""``windows:``: hours of the week in a time zone, and what of a policy's time a decision sees."""

from __future__ import annotations

import bisect
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import yaml

from portcullis.policy.moments import stamp
from portcullis.policy.yaml import Reader

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KEYS: Final = ("days", "from", "to", "zone")
NAME: Final = r"[a-z][a-z0-9_]{0,62}"
TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00"
ZONE: Final = r"UTC|[A-Z][A-Za-z0-9_+-]*(?:/[A-Z][A-Za-z0-9_+-]*){1,2}"
_TIME_FORM: Final = 'HH:MM, in quotes ("08:00"; "24:00" is the end of the day)'
_EPOCH: Final = stamp(0)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Hours of some days, by the wall clock of ``zone``, from ``begin`` on and before ``end``.

    Both are minutes of the day. Where ``end`` is not above ``begin`` the window goes on past
    midnight, and belongs to the day on which it began. Where a zone's clock is put back, the hour
    that comes twice is in the window both times; where it is put forward, what it skips is not.
    """

    name: str
    days: tuple[int, ...]
    begin: int
    end: int
    zone: str

    def open_at(self, seconds: float) -> bool:
        """Whether it is open at a time (seconds since the epoch)."""
        local = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(self.zone))
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= minute < self.end
        late = today in self.days and minute >= self.begin
        return late or ((today - 1) % 7 in self.days and minute < self.end)

    def data(self) -> dict[str, object]:
        """As it was written: no rule asks for it, the digest covers it."""
        return {
            "days": [DAYS[day] for day in self.days],
            "from": _clock(self.begin),
            "to": _clock(self.end),
            "zone": self.zone,
        }


class Now(NamedTuple):
    """What a decision sees of time.

    ``time`` is the last of the policy's own dates that has come, and the epoch before the first:
    all comparisons with them come out as with the time itself, and the same question stays the
    same in between. Both are None and empty where the policy speaks of no time, or none is known.
    """

    time: str | None = None
    windows: tuple[str, ...] = ()


class Calendar:
    """What a policy says of time, looked at from now."""

    def __init__(self, windows: tuple[Window, ...], moments: tuple[int, ...]) -> None:
        self._windows = windows
        self._moments = moments
        self._known: tuple[float, float, Now] = (0.0, 0.0, Now())

    @property
    def idle(self) -> bool:
        """Whether the policy speaks of no time at all."""
        return not (self._windows or self._moments)

    def at(self, seconds: float) -> Now:
        """What a decision sees at a time; windows open and close with the minute."""
        since, before, now = self._known
        if since <= seconds < before:
            return now
        passed = bisect.bisect_right(self._moments, seconds)
        minute = seconds // 60 * 60
        since = max([minute, *self._moments[passed - 1 : passed]])
        before = min([minute + 60, *self._moments[passed : passed + 1]])
        now = Now(
            (stamp(self._moments[passed - 1]) if passed else _EPOCH) if self._moments else None,
            tuple(window.name for window in self._windows if window.open_at(seconds)),
        )
        self._known = (since, before, now)
        return now


def read_windows(reader: Reader, node: yaml.Node) -> list[tuple[Window, yaml.Node]]:
    """Read one file's ``windows:``, each with the node that defines it.

    One that is at fault is never open; it is there so that whoever names it is not at fault too.
    """
    found = []
    for name, value in reader.pairs(node, "windows"):
        path = f"windows.{name.value}"
        fits = reader.match(name, "windows", NAME, "small letters, digits and _")
        keys = reader.section(value, path, KEYS)
        for key in KEYS:
            if key not in keys:
                reader.fault(value, f"{path} does not say {key}", f"Known keys: {', '.join(KEYS)}.")
        window = Window(name=name.value, days=(), begin=0, end=0, zone="UTC")
        found.append((window, value))
        if not fits or len(keys) < len(KEYS):
            continue
        form = f"one of {', '.join(DAYS)}"
        days = reader.texts(keys["days"], f"{path}.days", "|".join(DAYS), form)
        begin = reader.text(keys["from"], f"{path}.from", TIME, _TIME_FORM)
        end = reader.text(keys["to"], f"{path}.to", TIME, _TIME_FORM)
        zone = _zone(reader, keys["zone"], f"{path}.zone")
        if not days:
            reader.fault(keys["days"], f"{path}.days is empty")
        elif begin is not None and end is not None and zone:
            if begin.value in {end.value, "24:00"}:
                reader.fault(keys["to"], f"{path} is never open", 'A day is "00:00" to "24:00".')
            found[-1] = (
                Window(
                    name=name.value,
                    days=tuple(sorted(DAYS.index(day.value) for day in days)),
                    begin=_minutes(begin.value),
                    end=_minutes(end.value),
                    zone=zone,
                ),
                value,
            )
    return found


def _zone(reader: Reader, node: yaml.Node, path: str) -> str:
    entry = reader.text(node, path, ZONE, "UTC or a zone such as Europe/Berlin")
    if entry is None:
        return ""
    try:
        ZoneInfo(entry.value)
    except (OSError, ValueError, KeyError):  # not found, or a folder of the zones' files
        reader.fault(node, f"{path}: no time zone {entry.value}", "See the IANA names of zones.")
        return ""
    return entry.value


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
