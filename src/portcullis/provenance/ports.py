"""What containment needs from outside: where the labels of sessions and of memories are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from portcullis.core.principal import Session
from portcullis.provenance.labels import Labels


class LabelState(Protocol):
    """The labels of sessions, which only ever merge upward.

    ``merge`` returns the session's labels then; they are durable. Both raise Problem PC2006 for a
    session that has ended, of which nothing is kept, and PC9002 when the labels cannot be read or
    written: then deny.
    """

    async def read(self, session: Session) -> Labels: ...  # noqa: D102 - see above
    async def merge(self, session: Session, more: Labels) -> Labels: ...  # noqa: D102 - see above


class MemoryState(Protocol):
    """The labels of what memories hold, by store and record; they only ever merge upward.

    ``records`` are folded names, None for any record. ``recall`` returns what reading these tells:
    of one that nobody wrote, that something as confidential as any of the store may stand there.
    ``keep`` adds labels to what these records hold; they are durable when it returns. ``written``
    is whether it was ever called for a store. All raise Problem PC9002 when the labels cannot be
    read or written: then deny.
    """

    async def written(self, store: str) -> bool: ...  # noqa: D102 - see above

    async def recall(self, store: str, records: Collection[str] | None) -> Labels: ...  # noqa: D102 - see above
    async def keep(  # noqa: D102 - see above
        self, store: str, records: Collection[str] | None, labels: Labels
    ) -> None: ...
