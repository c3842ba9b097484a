"""The port of the queue of calls to be looked at afterwards."""

from __future__ import annotations

from typing import Protocol

from portcullis.core.event import Event
from portcullis.core.review import Entry, Wanted


class ReviewStore(Protocol):
    """The queue as the logs that were read so far have it. Every method blocks.

    ``list`` has the entries whose id comes after ``cursor``, the oldest first; ``due`` the ids of
    the open ones from before ``before`` of which nobody was reminded. ``note`` takes an act that is
    on record in ``log`` by now, so that it counts before that is read. ``read`` says whether no
    act of a log can be missing: it is read as far as ``since``, and as every act among its first
    ``size`` entries that was read before; else what is closed may look open. ``trim`` drops the
    closed ones beyond the ``kept`` that were closed last, and closed ones whose event was pruned;
    how many.
    """

    def get(self, entry_id: str) -> Entry | None: ...
    def list(self, wanted: Wanted, cursor: str, limit: int) -> tuple[Entry, ...]: ...
    def due(self, before: float, limit: int) -> tuple[str, ...]: ...
    def read(self, log: str, since: int, size: int) -> bool: ...
    def note(self, log: str, event: Event) -> None: ...
    def trim(self, kept: int) -> int: ...
