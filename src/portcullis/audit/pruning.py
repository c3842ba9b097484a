"""Pruning: entries that policy no longer keeps leave the journal and the bundles, on the record.

The order makes it safe to stop anywhere: the event is published, the tiles are on disk, then the
journal's segment is exchanged for one without the entries, then the bundles, which is where the
next attempt looks for what is still to be done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec

from portcullis.audit.files import replace
from portcullis.audit.journal import rewrite
from portcullis.audit.merkle import TILE_WIDTH
from portcullis.audit.note import Verifier
from portcullis.audit.pruned import SEGMENT, retention_class
from portcullis.audit.retention_holds import Hold
from portcullis.audit.tiles import ENTRIES, TileReader, pack, tile_path
from portcullis.audit.verify import read_checkpoint
from portcullis.core.errors import Problem

STATUS: Final = 0o644
_POLL_SECONDS: Final = 0.05
_PATIENCE: Final = 400


class Exchanges(Protocol):
    """The log's writer, as far as pruning needs it; see ``AuditLog``."""

    @property
    def size(self) -> int: ...  # noqa: D102 - see above
    def exchange(self, segment: int, fresh: Path, offset: int) -> None: ...  # noqa: D102 - see above


class _Seen(msgspec.Struct, frozen=True):
    """What of an event decides."""

    type: str
    time: datetime
    method: str = ""
    session: str = ""
    principal_kind: str = ""
    principal: str = ""


_decode: Final = msgspec.json.Decoder(_Seen).decode


class Pruner:
    """Prunes one log. Every method blocks; one thread at a time.

    ``forget`` is told which entries are gone, before they are; ``floor`` says how many entries
    everybody who has to read them has read.
    """

    def __init__(
        self,
        directory: Path,
        verifier: Verifier,
        log: Exchanges,
        *,
        forget: Callable[[Sequence[int]], None],
        floor: Callable[[], int],
    ) -> None:
        self._directory = directory
        self._verifier = verifier
        self._log = log
        self._forget = forget
        self._floor = floor

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self._log.size

    def end(self) -> int:
        """How many entries there are to look at: published, read by all, in whole bundles.

        Raises Problem PC6005 or PC7005 for what is no log.
        """
        published = read_checkpoint(self._directory, self._verifier)[0].size
        return min(published, self._floor()) // TILE_WIDTH * TILE_WIDTH

    def due(
        self,
        segment: int,
        end: int,
        before: Mapping[str, float],
        holds: Sequence[Hold],
        rest: Callable[[], None],
    ) -> dict[str, list[int]]:
        """The entries of a segment, below ``end``, that are older than their class allows.

        By class; ``before`` has the time of each class that is pruned at all. ``rest`` is called
        between bundles. Raises Problem PC6005 for a bundle that is not what the tree says: it is
        evidence and stays.
        """
        reader = TileReader(self._directory, end)
        found: dict[str, list[int]] = {}
        for start in range(segment, min(end, segment + SEGMENT), TILE_WIDTH):
            bundle = start // TILE_WIDTH
            entries = reader.entries(bundle)
            if tuple(reader.leaves(bundle, entries)) != reader.hashes(0, bundle):
                detail = f"{tile_path(ENTRIES, bundle)}: not the entries of the tree"
                raise Problem("PC6005", detail)
            for number, entry in enumerate(entries, start):
                if name := overdue(entry, before, holds):
                    found.setdefault(name, []).append(number)
            rest()
        return found

    def carry_out(self, numbers: Sequence[int]) -> None:
        """Take these entries, all of one segment, out of the journal and the bundles.

        That they go is on the record by now, and is waited for to be published. Raises Problem
        PC6001 when it is not complete: do it again then; PC6002 for a damaged journal, PC6007
        when no quorum of witnesses has vouched for the record: nothing is gone then.
        """
        self._published()
        gone = frozenset(numbers)
        segment = numbers[0] - numbers[0] % SEGMENT

        def without(first: int, entries: list[bytes]) -> list[bytes]:
            return [b"" if at in gone else entry for at, entry in enumerate(entries, first)]

        os.sync()  # from now on their hashes are in the tiles alone
        try:
            fresh, offset = rewrite(self._directory / "journal", segment, numbers[-1] + 1, without)
            try:
                self._log.exchange(segment, fresh, offset)
            finally:
                fresh.unlink(missing_ok=True)
            self._forget(numbers)
            end = numbers[-1] // TILE_WIDTH * TILE_WIDTH + TILE_WIDTH
            reader = TileReader(self._directory, end)
            for bundle in sorted({number // TILE_WIDTH for number in gone}):
                entries = without(bundle * TILE_WIDTH, reader.entries(bundle))
                path = self._directory / tile_path(ENTRIES, bundle)
                replace(path, pack(entries), mode=STATUS)
            self._forget(numbers)  # a projection that is behind may have read them meanwhile
        except OSError as error:
            raise Problem("PC6001", f"pruning is not complete: {error.strerror}") from None

    def _published(self) -> None:
        """Wait for a checkpoint over all that is durable now."""
        size = self._log.size
        for _ in range(_PATIENCE):
            if read_checkpoint(self._directory, self._verifier)[0].size >= size:
                return
            time.sleep(_POLL_SECONDS)
        raise Problem("PC6007", "the record of the pruning is not published")


def overdue(entry: bytes, before: Mapping[str, float], holds: Sequence[Hold]) -> str:
    """The class of an entry that is to go, or nothing."""
    if not entry:
        return ""
    try:
        seen = _decode(entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    name = retention_class(seen.type, seen.method)
    if seen.time.timestamp() >= before.get(name, 0.0) or any(h.covers(seen) for h in holds):
        return ""
    return name
