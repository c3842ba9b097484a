"""What hosts tell each other through the record store, sealed with the deployment's keys.

Each row is sealed for its place. A bundle has its version within, so that an older one cannot be
put in a newer one's place under the newer number; that the number itself never goes back is for
its followers to hold.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection, Engine, Select, select, update
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.core.hosts import FRESH_SECONDS, Bundle, Presence
from portcullis.core.ports import Sealer
from portcullis.store.dialect import moment, upsert, writing
from portcullis.store.tables_hosts import GATEWAYS, SHARED_FILES

_FILES, _GATEWAYS = SHARED_FILES.c, GATEWAYS.c
_FIGURES: Final = 16 * 2**20
"""The most bytes of figures that one gateway has."""
_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class SqlShelf:
    """Implements ``core.hosts.Shelf`` over SQL. For any thread."""

    def __init__(self, engine: Engine, sealer: Sealer) -> None:
        self._engine = engine
        self._writing = writing(engine, SHARED_FILES.name)
        self._sealer = sealer

    def put(self, name: str, files: Mapping[str, bytes], above: int = 0) -> int:
        """See Shelf. The time is in the version, so that a database of before has no newer one.

        Of what lies there, the version within counts alone: whoever writes the database could let
        the other one run out of numbers.
        """
        try:
            with self._writing.begin() as connection:
                query = select(_FILES.sealed).where(_FILES.name == name)
                sealed = connection.execute(query).scalar_one_or_none() or b""
                last = _opened(self._sealer, sealed, _purpose(name), Bundle)
                above = max(above, 0 if last is None else last.version)
                version = max(above + 1, int(time.time() * 1000))
                content = msgspec.msgpack.encode(Bundle(version, dict(files)))
                row = {"version": version, "sealed": self._sealer.seal(content, _purpose(name))}
                adding = upsert(connection, SHARED_FILES).values(name=name, **row)
                connection.execute(adding.on_conflict_do_update(index_elements=["name"], set_=row))
        except SQLAlchemyError:
            raise Problem("PC9002", "what hosts share cannot be written") from None
        return version

    def versions(self) -> dict[str, int]:
        """See Shelf."""
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(select(_FILES.name, _FILES.version)).all()
        except SQLAlchemyError:
            raise Problem("PC9002", "what hosts share cannot be read") from None
        return {row.name: row.version for row in rows}

    def get(self, name: str) -> Bundle | None:
        """See Shelf."""
        query = select(_FILES.version, _FILES.sealed).where(_FILES.name == name)
        try:
            with self._engine.connect() as connection:
                row = connection.execute(query).one_or_none()
        except SQLAlchemyError:
            raise Problem("PC9002", "what hosts share cannot be read") from None
        if row is None:
            return None
        found = _opened(self._sealer, row.sealed, _purpose(name), Bundle)
        if found is None or found.version != row.version:
            raise Problem(
                "PC7082",
                f"{name}: another version, or sealed under keys that this host does not have",
            )
        return found


class SqlPresences:
    """Implements ``core.hosts.Presences`` over SQL. For any thread."""

    def __init__(self, engine: Engine, sealer: Sealer) -> None:
        self._engine = engine
        self._writing = writing(engine, GATEWAYS.name)
        self._sealer = sealer

    def claim(self, said: Presence, process: str) -> None:
        """See Presences. Where it ran last it begins again at once: the log has one writer."""
        try:
            with self._writing.begin() as connection:
                query = select(_GATEWAYS.sealed, _GATEWAYS.expires > moment())
                row = connection.execute(query.where(_GATEWAYS.name == said.name)).one_or_none()
                if row is not None:
                    self._expect_same(said, row[0], runs=bool(row[1]))
                self._put(connection, said, process)
        except SQLAlchemyError:
            raise Problem("PC9002", "the gateway's name cannot be claimed") from None

    def say(self, said: Presence, process: str, figures: bytes) -> bool:
        """See Presences."""
        mine = (_GATEWAYS.name == said.name) & (_GATEWAYS.process == process)
        row = {
            "expires": moment() + FRESH_SECONDS,
            "sealed": self._sealed(said),
            "figures": self._sealer.seal(zlib.compress(figures), _figures(said.name)),
        }
        try:
            with self._writing.begin() as connection:
                return bool(connection.execute(update(GATEWAYS).where(mine).values(row)).rowcount)
        except SQLAlchemyError:
            raise Problem("PC9002", "what the gateway says cannot be written") from None

    def leave(self, said: Presence, process: str) -> None:
        """See Presences."""
        mine = (_GATEWAYS.name == said.name) & (_GATEWAYS.process == process)
        last = self._sealed(msgspec.structs.replace(said, ended=True))
        row = {"expires": 0.0, "sealed": last, "figures": b""}
        try:
            with self._writing.begin() as connection:
                connection.execute(update(GATEWAYS).where(mine).values(row))
        except SQLAlchemyError:
            raise Problem("PC9002", "what the gateway says cannot be written") from None

    def all(self) -> tuple[Presence, ...]:
        """See Presences."""
        return self._found(select(_GATEWAYS.name, _GATEWAYS.sealed))

    def running(self) -> tuple[Presence, ...]:
        """See Presences."""
        query = select(_GATEWAYS.name, _GATEWAYS.sealed).where(_GATEWAYS.expires > moment())
        return self._found(query)

    def _found(self, query: Select[tuple[str, bytes]]) -> tuple[Presence, ...]:
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(query.order_by(_GATEWAYS.name)).all()
        except SQLAlchemyError:
            raise Problem("PC9002", "what gateways say cannot be read") from None
        found = {row.name: self._said(row.name, row.sealed) for row in rows}
        for name, one in found.items():
            if one is None:
                log.error("gateway_not_believed", gateway=name, code="PC7082")
        return tuple(one for one in found.values() if one is not None)

    def figures(self, name: str) -> bytes:
        """See Presences."""
        query = select(_GATEWAYS.figures).where(_GATEWAYS.name == name)
        try:
            with self._engine.connect() as connection:
                sealed = connection.execute(query).scalar_one_or_none()
        except SQLAlchemyError:
            raise Problem("PC9002", "figures of gateways cannot be read") from None
        if not sealed:
            return b""
        inflater = zlib.decompressobj()
        return inflater.decompress(self._sealer.open(sealed, _figures(name)), _FIGURES)

    def _expect_same(self, said: Presence, sealed: bytes, *, runs: bool) -> None:
        last = self._said(said.name, sealed)
        if last is None:
            raise Problem("PC7082", f"what the gateway {said.name} said last was altered")
        if last.log == said.log and last.vkey != said.vkey:
            detail = f"{said.name} is the name of a gateway of {last.host}, whose log has its key"
            raise Problem("PC6003" if runs else "PC7083", detail, hint="Choose another --name.")
        if runs and last.host != said.host:
            detail = f"the gateway {said.name} runs on {last.host}"
            hint = f"If that has ended, its name is free after {FRESH_SECONDS:g} seconds."
            raise Problem("PC6003", detail, hint=hint)

    def _put(self, connection: Connection, said: Presence, process: str) -> None:
        row = {
            "process": process,
            "expires": moment() + FRESH_SECONDS,
            "sealed": self._sealed(said),
            "figures": b"",
        }
        adding = upsert(connection, GATEWAYS).values(name=said.name, **row)
        connection.execute(adding.on_conflict_do_update(index_elements=["name"], set_=row))

    def _sealed(self, said: Presence) -> bytes:
        return self._sealer.seal(msgspec.msgpack.encode(said), f"gateways:{said.name}")

    def _said(self, name: str, sealed: bytes) -> Presence | None:
        found = _opened(self._sealer, sealed, f"gateways:{name}", Presence)
        return found if found is not None and found.name == name else None


def _opened(sealer: Sealer, sealed: bytes, purpose: str, kind: type[_T]) -> _T | None:
    """What was sealed for this, or None for anything else."""
    try:
        return msgspec.msgpack.decode(sealer.open(sealed, purpose), type=kind)
    except msgspec.MsgspecError:
        return None
    except Problem as problem:
        if problem.code != "PC7010":  # the key manager cannot be asked
            raise
        return None


def _purpose(name: str) -> str:
    return f"shared_files:{name}"


def _figures(name: str) -> str:
    return f"gateway_figures:{name}"
