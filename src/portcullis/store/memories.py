"""The labels of memories: durable before anything is written into them, and as lasting as they are.

A row for each record, one for the whole of a store (what any of its records may hold), and one for
what was written without saying into which record. They lie sealed, each for its own row. After they
were put back, one more stands for what was written into any store since.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterable
from typing import Final

import msgspec
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.containment import Confidentiality
from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer
from portcullis.provenance import memories
from portcullis.provenance.labels import MAX_TRUSTED, Labels
from portcullis.store.dialect import alone, upsert, writing
from portcullis.store.labels import labels_purpose
from portcullis.store.tables import MEMORY_LABELS, SESSION_LABELS

MAX_RECORDS: Final = 65_536
"""Rows of one store; what is written into further records is known of the whole store only."""
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Labels).decode


class SqlMemories:
    """Implements ``provenance.ports.MemoryState`` over SQL, for any number of processes."""

    def __init__(self, engine: Engine, sealer: Sealer, *, records: int = MAX_RECORDS) -> None:
        self._engine = engine
        self._writing = writing(engine)
        self._sealer = sealer
        self._most = records

    async def written(self, store: str) -> bool:
        """See MemoryState."""
        try:
            return await asyncio.to_thread(self._written, store)
        except SQLAlchemyError:
            raise Problem("PC9002", "the labels of a memory cannot be read") from None

    async def recall(self, store: str, records: Collection[str] | None) -> Labels:
        """See MemoryState."""
        try:
            return await asyncio.to_thread(self._recall, store, records)
        except (SQLAlchemyError, msgspec.MsgspecError, Problem):
            raise Problem("PC9002", "the labels of a memory cannot be read") from None

    async def keep(self, store: str, records: Collection[str] | None, labels: Labels) -> None:
        """See MemoryState."""
        try:
            await asyncio.to_thread(self._keep, store, records, labels.of_record(MAX_TRUSTED))
        except (SQLAlchemyError, msgspec.MsgspecError, Problem):
            raise Problem("PC9002", "the labels of a memory cannot be written") from None

    def _written(self, store: str) -> bool:
        known = select(MEMORY_LABELS.c.id).where(
            MEMORY_LABELS.c.id.in_((_id(store, memories.WHOLE), _ANY))
        )
        with self._engine.connect() as connection:
            return connection.execute(known).first() is not None

    def _recall(self, store: str, records: Collection[str] | None) -> Labels:
        with self._engine.connect() as connection:
            return memories.recall(self._rows(connection, store, records or ()), records)

    def _keep(self, store: str, records: Collection[str] | None, labels: Labels) -> None:
        with self._engine.connect() as connection:
            if not memories.keep(self._rows(connection, store, records or ()), records, labels):
                return
        with self._writing.begin() as connection:
            alone(connection, "memories", store)
            known = self._rows(connection, store, records or ())
            changed = memories.keep(known, records, labels)
            column = MEMORY_LABELS.c.store
            count = select(func.count()).where(column == store)
            new = sum(name not in known for name in changed)
            full = new and connection.execute(count).scalar_one() + new > self._most
            for name, whole in changed.items():
                if full and name not in known and name not in {memories.WHOLE, memories.ANYWHERE}:
                    continue
                row = {"id": _id(store, name), "store": store}
                document = self._sealer.seal(_encode(whole), memory_purpose(row["id"]))
                connection.execute(
                    upsert(connection, MEMORY_LABELS)
                    .values({**row, "document": document})
                    .on_conflict_do_update(
                        index_elements=[MEMORY_LABELS.c.id], set_={"document": document}
                    )
                )

    def _rows(
        self, connection: Connection, store: str, records: Iterable[str]
    ) -> dict[str, Labels]:
        """What is known of these records and of the store, by name."""
        names = {_id(store, name): name for name in (memories.WHOLE, memories.ANYWHERE, *records)}
        names[_ANY] = memories.ANY_STORE
        column = MEMORY_LABELS.c
        query = select(column.id, column.document).where(column.id.in_(names))
        return {
            names[row.id]: _decode(self._sealer.open(row.document, memory_purpose(row.id)))
            for row in connection.execute(query)
        }


def _id(store: str, record: str) -> str:
    raw = f"{store}\0{record}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def memory_purpose(row: str) -> str:
    """What the labels of a row are sealed for."""
    return f"memory_labels:{row}"


_ANY: Final = _id("", memories.ANY_STORE)
"""No store is named so: names are a server's and a memory's."""


def raise_all(engine: Engine, sealer: Sealer) -> Confidentiality:
    """Take any record of any store for as confidential as the most that is on record; that level.

    For records that were put back, while they still have the labels of sessions: what was written
    since may come from any session. Labels that do not open are a secret's. Raises
    ``SQLAlchemyError``.
    """
    labelled = (
        (MEMORY_LABELS.c.id, MEMORY_LABELS.c.document, memory_purpose),
        (SESSION_LABELS.c.session, SESSION_LABELS.c.document, labels_purpose),
    )
    found = Labels()
    with writing(engine).begin() as connection:
        for key, document, purpose in labelled:
            for name, sealed in connection.execute(select(key, document)):
                found = found.merge(_level(sealer, sealed, purpose(name)))
        if found != Labels():
            whole = sealer.seal(_encode(found), memory_purpose(_ANY))
            row = {"id": _ANY, "store": "", "document": whole}
            adding = upsert(connection, MEMORY_LABELS).values(row)
            column = MEMORY_LABELS.c.id
            connection.execute(
                adding.on_conflict_do_update(index_elements=[column], set_={"document": whole})
            )
    return found.confidentiality


def _level(sealer: Sealer, document: bytes, purpose: str) -> Labels:
    """How confidential some labels are, and nothing else of them."""
    try:
        labels = _decode(sealer.open(document, purpose))
    except (Problem, msgspec.MsgspecError):
        return Labels(confidentiality=Confidentiality.SECRET)
    return Labels(confidentiality=labels.confidentiality)
