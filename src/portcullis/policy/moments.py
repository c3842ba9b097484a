"""Dates and times that a policy names: one instant each, written one way only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import yaml

from portcullis.policy.yaml import Entry, Reader

_FORM: Final = re.compile(r"(\d{4}-\d\d-\d\d)(T\d\d:\d\d:\d\dZ)?")
_MIDNIGHT: Final = "T00:00:00Z"
_HINT: Final = 'Write "2027-01-31" (from 00:00 UTC on) or "2027-01-31T12:00:00Z", in quotes.'


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant; ``seconds`` since the epoch, ``entry`` is where it stands, as it is written."""

    seconds: int
    entry: Entry

    @property
    def text(self) -> str:
        """As policy compares it (RFC 3339 in UTC with seconds): text sorts as time does."""
        return stamp(self.seconds)


def stamp(seconds: int) -> str:
    """Seconds since the epoch as ``2027-01-31T00:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_moment(reader: Reader, node: yaml.Node, path: str) -> Moment | None:
    """Read a date, which is its midnight in UTC, or a time in UTC."""
    entry = reader.text(node, path)
    if entry is None:
        return None
    found = _FORM.fullmatch(entry.value)
    try:
        if found is None:
            raise ValueError(entry.value)
        when = datetime.fromisoformat(found[1] + (found[2] or _MIDNIGHT))
        if when.year < 1970:  # noqa: PLR2004 - the epoch
            raise ValueError(entry.value)
    except ValueError:
        reader.fault(node, f"{path}: not a date", _HINT)
        return None
    return Moment(int(when.timestamp()), entry)
