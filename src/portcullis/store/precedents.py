"""What approved calls were like: the ``Precedents`` port over SQL.

Arguments are encrypted with AES-256-GCM under the content key of their subject, for their place
(additional data). Keeping is best effort, on a thread: an approver sees one comparison less.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from portcullis.audit.subjects import SubjectKeys
from portcullis.audit.subjects_erasure import Stores
from portcullis.core.desk import Precedent
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.store.dialect import alone, writing
from portcullis.store.tables import PRECEDENTS

MOST_BYTES: Final = 256 * 1024
"""Longest arguments that are kept, in bytes of MessagePack."""
_NONCE: Final = 12
_REMEMBERED: Final = 256
"""Of how many events it is known that something was kept, for those that are dropped at once."""

_log = structlog.get_logger(__name__)

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode


class SqlPrecedents:
    """An adapter of ``core.desk_ports.Precedents`` for the log called ``own`` with these ``keys``.

    ``stores`` has the keys of all logs: what another process kept is found too.
    """

    def __init__(self, engine: Engine, own: str, keys: SubjectKeys, stores: Stores) -> None:
        self._engine = engine
        self._writing = writing(engine)
        self._own = own
        self._keys = keys
        self._stores = stores
        self._kept: deque[str] = deque(maxlen=_REMEMBERED)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="precedents")

    def keep(self, event: Event, subject: str, arguments: Mapping[str, Any]) -> None:
        """Keep the arguments of a call that goes ahead, in place of those before; see the port."""
        value = _encode(arguments)
        if len(value) > MOST_BYTES:
            self.pass_by(event)
            return
        found = self._keys.subject(subject)
        self._kept.append(event.id)
        row = {
            "at": event.time.timestamp(),
            "event": event.id,
            "log": self._own,
            "handle": found.handle,
            "sealed": _sealed(found.content, value, _place(event)),
        }
        self._write(lambda: self._replace(event, row))

    def pass_by(self, event: Event) -> None:
        """Keep nothing of a call that goes ahead, nor what was kept before."""
        self._write(lambda: self._replace(event, None))

    def drop(self, event_id: str) -> None:
        """Keep nothing of this event after all."""
        if event_id not in self._kept:
            return
        gone = delete(PRECEDENTS).where(PRECEDENTS.c.event == event_id)

        def work() -> None:
            with self._writing.begin() as connection:
                connection.execute(gone)

        self._write(work)

    def find(self, agent: str, server: str, name: str) -> Precedent | None:
        """The last one; see the port. Raises Problem PC6005 when it was altered."""
        row = PRECEDENTS.c
        query = select(PRECEDENTS).where(row.agent == agent, row.server == server, row.name == name)
        with self._engine.connect() as connection:
            found = connection.execute(query).mappings().one_or_none()
        if found is None:
            return None
        whose = found["log"], found["handle"]
        key = self._stores.content_keys({whose}).get(whose)
        if key is None:
            return None
        sealed, place = found["sealed"], _bound(found["event"], agent, server, name)
        try:
            value = AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], place)
            arguments = _decode(value)
        except (InvalidTag, ValueError):
            raise Problem("PC6005", "what was kept of the last call was altered") from None
        return Precedent(event=found["event"], at=found["at"], arguments=arguments)

    def forget(self, before: float) -> None:
        """Destroy those from before then, and those whose subject was erased; see the port.

        Raises Problem PC6001 when they may still be there.
        """
        row = PRECEDENTS.c
        try:
            with self._engine.connect() as connection:
                found = connection.execute(select(row.event, row.log, row.handle)).all()
            keys = self._stores.content_keys({(log, handle) for _, log, handle in found})
            erased = [event for event, log, handle in found if (log, handle) not in keys]
            with self._writing.begin() as connection:
                connection.execute(delete(PRECEDENTS).where(row.at < before))
                for event in erased:
                    connection.execute(delete(PRECEDENTS).where(row.event == event))
        except SQLAlchemyError:
            detail = "what was kept of approved calls cannot be destroyed"
            raise Problem("PC6001", detail) from None

    def close(self) -> None:
        """Write what waits. Blocks."""
        self._writer.shutdown()

    def _replace(self, event: Event, row: Mapping[str, Any] | None) -> None:
        key = {"agent": event.principal, "server": event.server, "name": event.name}
        same = [PRECEDENTS.c[name] == value for name, value in key.items()]
        with self._writing.begin() as connection:
            alone(connection, "precedents", event.principal)
            connection.execute(delete(PRECEDENTS).where(*same))
            if row is not None:
                connection.execute(insert(PRECEDENTS).values({**key, **row}))

    def _write(self, work: Callable[[], None]) -> None:
        def done() -> None:
            try:
                work()
            except SQLAlchemyError as error:
                _log.warning("precedent_not_kept", reason=type(error).__name__)

        self._writer.submit(done)


def _sealed(key: bytes, value: bytes, place: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, value, place)


def _place(event: Event) -> bytes:
    return _bound(event.id, event.principal, event.server, event.name)


def _bound(event: str, agent: str, server: str, name: str) -> bytes:
    return f"precedent\0{event}\0{agent}\0{server}\0{name}".encode()
