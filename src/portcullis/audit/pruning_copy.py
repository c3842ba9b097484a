"""Pruning a copy of a log that another host writes: as that log says, and no more than is due here.

The log's own ``audit.prune`` events, which are signed with it, say which entries its writer has
taken out. From the copy go those of them that are past their time by the policy of whoever keeps
the copy, too, and that no hold of his covers: so nobody who has the log's key takes out what is to
be kept here, and what is left goes on to verify by the log's own word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit.files import replace
from portcullis.audit.merkle import TILE_WIDTH
from portcullis.audit.note import Verifier
from portcullis.audit.pruned import PRUNE, SEGMENT, Pruning, pruning
from portcullis.audit.pruning import STATUS, overdue
from portcullis.audit.retention_holds import Hold
from portcullis.audit.tiles import ENTRIES, TileReader, pack, tile_path
from portcullis.audit.verify import read_checkpoint
from portcullis.core.errors import Problem
from portcullis.core.event import Event

_SAYS: Final = f'"method":"{PRUNE}"'.encode()
_decode: Final = msgspec.json.Decoder(Event).decode


class PrunedCopy:
    """Prunes the copy in ``directory``. Every method blocks; one thread at a time.

    ``forget`` is told which entries are gone, before they are.
    """

    def __init__(
        self, directory: Path, verifier: Verifier, forget: Callable[[Sequence[int]], None]
    ) -> None:
        self._directory = directory
        self._verifier = verifier
        self._forget = forget
        self._read = 0
        self._said: list[Pruning] = []

    def step(
        self,
        before: Mapping[str, float],
        holds: Sequence[Hold],
        floor: int,
        rest: Callable[[], None] = lambda: None,
    ) -> int:
        """Take out what is due, of the first ``floor`` entries; how many that are.

        ``before`` is as in ``Pruner.due``; ``rest`` is called between bundles. Raises Problem
        PC6005 for a bundle that is not what the tree says, which stays, and PC6001 when it is not
        complete: do it again then.
        """
        size = read_checkpoint(self._directory, self._verifier)[0].size
        reader, gone = TileReader(self._directory, size), 0
        self._look(reader, rest)
        for segment in sorted({one.first for one in self._said}) if before else ():
            said = [one.covered() for one in self._said if one.first == segment]
            end = min(size, floor, segment + SEGMENT) // TILE_WIDTH * TILE_WIDTH
            for start in range(segment, end, TILE_WIDTH):
                here = range(start - segment, start - segment + TILE_WIDTH)
                places = {at for at in here if any(bits[at] for bits in said)}
                if places:
                    numbers = {segment + at for at in places}
                    gone += self._bundle(reader, start, numbers, before, holds)
                    rest()
        return gone

    def _look(self, reader: TileReader, rest: Callable[[], None]) -> None:
        """Read what the log says since the last time that it was read."""
        while self._read < reader.size:
            index, skip = divmod(self._read, TILE_WIDTH)
            found = _entries(reader, index)
            for number, entry in enumerate(found[skip:], self._read):
                if _SAYS in entry and (one := _pruning(number, entry)) is not None:
                    self._said.append(one)
            self._read += len(found) - skip
            rest()

    def _bundle(
        self,
        reader: TileReader,
        start: int,
        numbers: set[int],
        before: Mapping[str, float],
        holds: Sequence[Hold],
    ) -> int:
        entries = _entries(reader, start // TILE_WIDTH)
        due = [
            number
            for number, entry in enumerate(entries, start)
            if number in numbers and overdue(entry, before, holds)
        ]
        if not due:
            return 0
        path = self._directory / tile_path(ENTRIES, start // TILE_WIDTH)
        for number in due:
            entries[number - start] = b""
        self._forget(due)
        try:
            replace(path, pack(entries), mode=STATUS)
        except OSError as error:
            raise Problem("PC6001", f"pruning is not complete: {error.strerror}") from None
        self._forget(due)  # a projection that is behind may have read them meanwhile
        return len(due)


def _entries(reader: TileReader, index: int) -> list[bytes]:
    """The entries of a bundle, which are those of the tree."""
    found = reader.entries(index)
    if tuple(reader.leaves(index, found)) != reader.hashes(0, index):
        raise Problem("PC6005", f"{tile_path(ENTRIES, index)}: not the entries of the tree")
    return found


def _pruning(number: int, entry: bytes) -> Pruning | None:
    """What an entry says was pruned; None when it says nothing of the kind."""
    try:
        seen = _decode(entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if seen.type != "admin" or seen.method != PRUNE or seen.verdict != "allow":
        return None
    said = msgspec.json.encode(seen.parameters)
    return pruning(seen.id, seen.time.timestamp(), number, said)
