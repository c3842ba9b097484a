"""Labels of sessions and of memories, kept in memory by the rules that the stores keep to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from portcullis.provenance import memories
from portcullis.provenance.labels import Labels


class LabelBook:
    """Implements ``LabelState``."""

    def __init__(self) -> None:
        self.known: dict[str, Labels] = {}

    async def read(self, session: Any) -> Labels:
        return self.known.get(session.id, Labels())

    async def merge(self, session: Any, more: Labels) -> Labels:
        self.known[session.id] = (await self.read(session)).merge(more)
        return self.known[session.id]


class MemoryBook:
    """Implements ``MemoryState``."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Labels]] = {}

    async def written(self, store: str) -> bool:
        return bool(self.rows.get(store))

    async def recall(self, store: str, records: Collection[str] | None) -> Labels:
        return memories.recall(self.rows.get(store, {}), records)

    async def keep(self, store: str, records: Collection[str] | None, labels: Labels) -> None:
        rows = self.rows.setdefault(store, {})
        rows.update(memories.keep(rows, records, labels))
