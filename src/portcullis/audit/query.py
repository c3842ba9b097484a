"""Reading events back, while the gate runs or without it. Nothing here writes.

Entries that were pruned are passed over.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit.journal import read
from portcullis.audit.merkle import TILE_WIDTH
from portcullis.audit.note import Verifier
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import read_head
from portcullis.core.errors import Problem
from portcullis.core.event import Event

_POLL_SECONDS: Final = 0.25
_decode: Final = msgspec.json.Decoder(Event).decode


class Record(msgspec.Struct, frozen=True):
    """An event and its number in the log; ``entry`` is the exact leaf."""

    index: int
    event: Event
    entry: bytes


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; an empty field does not restrict. Times are aware, ``since`` included.

    ``tool`` is ``name`` or ``server.name``, ``user`` a commitment, ``finding`` a type of finding.
    """

    type: str = ""
    principal: str = ""
    session: str = ""
    tool: str = ""
    verdict: str = ""
    code: str = ""
    risk: str = ""
    finding: str = ""
    trace: str = ""
    user: str = ""
    credential: str = ""
    method: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, event: Event) -> bool:
        """Whether the event fits every field."""
        return (
            (not self.type or event.type == self.type)
            and (not self.principal or event.principal == self.principal)
            and (not self.session or event.session == self.session)
            and (not self.tool or self.tool in {event.name, f"{event.server}.{event.name}"})
            and (not self.verdict or event.verdict == self.verdict)
            and (not self.code or event.code == self.code)
            and (not self.risk or event.risk == self.risk)
            and (not self.finding or self.finding in event.finding_types())
            and (not self.trace or event.trace_id == self.trace)
            and (not self.user or event.commitments.get("user") == self.user)
            and (not self.credential or event.credential == self.credential)
            and (not self.method or event.method == self.method)
            and (self.since is None or event.time >= self.since)
            and (self.until is None or event.time < self.until)
        )


def published(directory: Path, verifier: Verifier, start: int = 0) -> Iterator[Record]:
    """The events under the log's newest signed head, from number ``start`` on."""
    checkpoint = read_head(directory, verifier)
    for index, entry in _tiles(directory, start, checkpoint.size):
        yield _record(index, entry)


def records(directory: Path, verifier: Verifier, start: int = 0) -> Iterator[Record]:
    """The events from number ``start`` on: the published ones, then those only in the journal.

    Raises Problem PC6005 or PC6002 where the log is damaged; it does not verify the log.
    """
    for index, entry in _entries(directory, verifier, start):
        yield _record(index, entry)


def entries(directory: Path, verifier: Verifier, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """The numbers and bytes of what ``records`` yields."""
    return _entries(directory, verifier, start)


def last(directory: Path, verifier: Verifier, count: int) -> list[Record]:
    """The last ``count`` of all events, at most; without reading those before."""
    checkpoint = read_head(directory, verifier)
    start = max(0, checkpoint.size - count)
    found = deque(_entries(directory, verifier, start), maxlen=count)
    return [_record(index, entry) for index, entry in found]


def related(directory: Path, verifier: Verifier, event_id: str) -> list[Record]:
    """An event with what belongs to it: decision, result, and the model turn that proposed it.

    In the log's order. Raises Problem PC6004 when there is no such event.
    """
    asked = find(directory, verifier, event_id).event
    root = asked.decision or asked.id
    found: list[Record] = []
    proposals = {asked.proposed_by} - {""}
    for record in records(directory, verifier):
        if record.event.id == root:
            proposals |= {record.event.proposed_by} - {""}
        if root in {record.event.id, record.event.decision}:
            found.append(record)
    turns = [r for r in records(directory, verifier) if r.event.id in proposals]
    return sorted({r.index: r for r in found + turns}.values(), key=lambda r: r.index)


def find(
    directory: Path,
    verifier: Verifier,
    event_id: str,
    advance: Callable[[int], None] = lambda _: None,
) -> Record:
    """The event with this id, or Problem PC6004; ``advance`` is told of each entry looked at."""
    name = event_id.encode()
    for index, entry in _entries(directory, verifier):
        advance(1)
        if name in entry and (record := _record(index, entry)).event.id == event_id:
            return record
    raise Problem("PC6004", "the log has no event with this id")


def follow(
    directory: Path,
    verifier: Verifier,
    start: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Record]:
    """The events from number ``start`` on, for ever, as they are published."""
    while True:
        for record in published(directory, verifier, start):
            start = record.index + 1
            yield record
        sleep(_POLL_SECONDS)


def _entries(directory: Path, verifier: Verifier, start: int = 0) -> Iterator[tuple[int, bytes]]:
    checkpoint = read_head(directory, verifier)
    yield from _tiles(directory, start, checkpoint.size)
    if (directory / "journal").is_dir():
        for frame in read(directory / "journal", checkpoint.size):
            for index, entry in enumerate(frame.entries, frame.first):
                if index >= max(start, checkpoint.size) and entry:
                    yield index, entry


def _tiles(directory: Path, start: int, size: int) -> Iterator[tuple[int, bytes]]:
    reader = TileReader(directory, size)
    for bundle in range(start // TILE_WIDTH, -(-size // TILE_WIDTH)):
        for index, entry in enumerate(reader.entries(bundle), bundle * TILE_WIDTH):
            if index >= start and entry:
                yield index, entry


def _record(index: int, entry: bytes) -> Record:
    try:
        return Record(index, _decode(entry), entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Problem("PC6005", f"entry {index} is not an event of this version") from None
