"""Releases of policy over SQL, the same for every process of a deployment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer
from portcullis.core.release import (
    Approval,
    File,
    Release,
    Stage,
    Standing,
    Tallies,
    Verb,
    after,
    text_digest,
)
from portcullis.store.dialect import upsert, writing
from portcullis.store.policy_tallies import counted, forget, put
from portcullis.store.tables_releases import POLICY_RELEASES, POLICY_SOURCES, POLICY_TEXTS
from portcullis.store.versions import count, version

MOST_TEXTS: Final = 1000
"""The texts of so many releases are kept, the newest, and of those that are at work."""

_T = TypeVar("_T")
_ROWS: Final = POLICY_RELEASES.c
_STANDING: Final = (Stage.ACTIVE, Stage.SHADOW, Stage.CANARY)
_NEEDS: Final = frozenset({Verb.CANARY, Verb.ACTIVATE})
_STAGED: Final = frozenset({Stage.SHADOW, Stage.CANARY})

_files: Final = msgspec.msgpack.Decoder(tuple[File, ...]).decode
_approvals: Final = msgspec.json.Decoder(tuple[Approval, ...]).decode


class SqlReleases:
    """Implements ``core.release_ports.ReleaseBook``."""

    def __init__(self, engine: Engine, sealer: Sealer) -> None:
        self._engine = engine
        self._writing = writing(engine, "policy_releases")
        self._sealer = sealer

    def version(self) -> int:
        """See ReleaseBook."""
        return self._read(lambda connection: version(connection, POLICY_RELEASES))

    def standing(self) -> Standing:
        """See ReleaseBook."""
        return self._read(_standing)

    def list(self, limit: int) -> tuple[Release, ...]:
        """The newest first."""
        query = select(POLICY_RELEASES).order_by(_ROWS.number.desc()).limit(limit)
        return self._read(
            lambda connection: tuple(map(_release, connection.execute(query).mappings()))
        )

    def get(self, number: int) -> Release | None:
        """See ReleaseBook."""
        return self._read(lambda connection: _find(connection, number))

    def files(self, number: int) -> tuple[File, ...]:
        """See ReleaseBook."""

        def read(connection: Connection) -> tuple[Release | None, bytes | None]:
            query = select(POLICY_TEXTS.c.sealed).where(POLICY_TEXTS.c.number == number)
            return _find(connection, number), connection.execute(query).scalar_one_or_none()

        release, sealed = self._read(read)
        if release is None or sealed is None:
            raise Problem("PC7030", f"there is no text of a release {number}")
        try:
            files = _files(self._sealer.open(sealed, _purpose(number)))
        except (Problem, msgspec.MsgspecError):
            raise Problem("PC7038", f"the text of release {number} does not open") from None
        if text_digest(files) != release.text:
            raise Problem("PC7038", f"the text of release {number} is another")
        return files

    def known(self, text: str) -> bool:
        """Whether some release has this text."""
        query = select(_ROWS.number).where(_ROWS.text == text).limit(1)
        return self._read(lambda connection: connection.execute(query).first() is not None)

    def propose(self, release: Release, files: tuple[File, ...]) -> Release:
        """See ReleaseBook."""
        return self._write(lambda connection: self._add(connection, release, files))

    def first(self, release: Release, files: tuple[File, ...]) -> Release | None:
        """See ReleaseBook."""

        def write(connection: Connection) -> Release | None:
            active = select(_ROWS.number).where(_ROWS.active_at > 0).limit(1)
            if connection.execute(active).first() is not None:
                return None
            return self._add(connection, release, files)

        return self._write(write)

    def took(self, release: Release, files: tuple[File, ...]) -> Release:
        """See ReleaseBook."""

        def write(connection: Connection) -> Release:
            active = _standing(connection).active
            if active is not None and active.text == release.text:
                return active
            if active is not None:
                _put(connection, active, Verb.SUPERSEDE, at=release.proposed_at)
            return self._add(connection, release, files)

        return self._write(write)

    def approve(
        self, number: int, *, by: str, at: float, note: str, needed: int, seen: int
    ) -> Release:
        """See ReleaseBook."""

        def write(connection: Connection) -> Release:
            found = _there(connection, number)
            stage = after(found.stage, Verb.APPROVE)
            if len(found.approvals) != seen:  # whether it is another person was judged without it
                said = f"release {number} was approved by somebody else at the same time"
                raise Problem("PC7031", said, hint="Try again.")
            approvals = (*found.approvals, Approval(by=by, at=at, note=note))
            if stage is Stage.APPROVED and len(approvals) < needed:
                stage = found.stage
            return _store(
                connection,
                msgspec.structs.replace(
                    found, stage=stage, approvals=approvals, by=by, reason=note, changed_at=at
                ),
            )

        return self._write(write)

    def move(
        self,
        number: int,
        verb: Verb,
        *,
        by: str,
        at: float,
        reason: str = "",
        share: int = 0,
        needed: int = 0,
    ) -> Release:
        """See ReleaseBook."""

        def write(connection: Connection) -> Release:
            found, standing = _there(connection, number), _standing(connection)
            stage = after(found.stage, verb)
            if verb in _NEEDS and len(found.approvals) < needed:
                said = f"{len(found.approvals)} of {needed} people have approved release {number}"
                raise Problem("PC7032", said)
            other = standing.candidate
            if stage in _STAGED and other is not None and other.number != number:
                raise Problem("PC7031", f"release {other.number} is in {other.stage} already")
            if stage is Stage.ACTIVE and standing.active is not None:
                _put(connection, standing.active, Verb.SUPERSEDE, at=at)
            if found.stage is Stage.ACTIVE and verb is Verb.ROLL_BACK:
                before = standing.before()
                _put(connection, before, Verb.RESTORE, at=at, by=by, reason=reason)
            if stage in _STAGED and stage is not found.stage:
                forget(connection, number)  # what was counted at one stage says nothing of another
            return _put(connection, found, verb, at=at, by=by, reason=reason, share=share)

        return self._write(write)

    def tally(self, number: int, gateway: str, tallies: Tallies) -> None:
        """See ReleaseBook."""
        self._write(lambda connection: put(connection, number, gateway, tallies))

    def tallies(self, number: int) -> Tallies:
        """See ReleaseBook."""
        return self._read(lambda connection: counted(connection, number))

    def mark(self, source: str, revision: str) -> None:
        """See ReleaseBook."""
        new = {"revision": revision}

        def write(connection: Connection) -> None:
            row = upsert(connection, POLICY_SOURCES).values(source=source, revision=revision)
            connection.execute(row.on_conflict_do_update(index_elements=["source"], set_=new))

        self._write(write)

    def marked(self, source: str) -> str:
        """See ReleaseBook."""
        query = select(POLICY_SOURCES.c.revision).where(POLICY_SOURCES.c.source == source)
        found = self._read(lambda connection: connection.execute(query).scalar_one_or_none())
        return found or ""

    def _add(self, connection: Connection, release: Release, files: tuple[File, ...]) -> Release:
        last = connection.execute(select(func.max(_ROWS.number))).scalar_one_or_none() or 0
        made = msgspec.structs.replace(release, number=last + 1)
        connection.execute(insert(POLICY_RELEASES).values(_row(made)))
        sealed = self._sealer.seal(msgspec.msgpack.encode(files), _purpose(made.number))
        connection.execute(insert(POLICY_TEXTS).values(number=made.number, sealed=sealed))
        kept = select(_ROWS.number).where(_ROWS.stage.in_([stage.value for stage in _STANDING]))
        old = POLICY_TEXTS.c.number <= made.number - MOST_TEXTS
        connection.execute(delete(POLICY_TEXTS).where(old, POLICY_TEXTS.c.number.not_in(kept)))
        count(connection, POLICY_RELEASES)
        return made

    def _read(self, work: Callable[[Connection], _T]) -> _T:
        try:
            with self._engine.connect() as connection:
                return work(connection)
        except SQLAlchemyError:
            raise Problem("PC9002", "the releases of policy cannot be read") from None

    def _write(self, work: Callable[[Connection], _T]) -> _T:
        try:
            with self._writing.begin() as connection:
                return work(connection)
        except SQLAlchemyError:
            raise Problem("PC9002", "the releases of policy cannot be written") from None


def _standing(connection: Connection) -> Standing:
    wanted = [stage.value for stage in _STANDING]
    rows = connection.execute(select(POLICY_RELEASES).where(_ROWS.stage.in_(wanted))).mappings()
    found = {release.stage: release for release in map(_release, rows)}
    candidate = found.get(Stage.SHADOW) or found.get(Stage.CANARY)
    active = found.get(Stage.ACTIVE)
    return Standing(
        active=active,
        candidate=candidate,
        back=_before(connection),
        restored=active is not None and _restored(connection, active),
    )


def _before(connection: Connection) -> Release | None:
    """The release that was active last, of those that were superseded."""
    query = select(POLICY_RELEASES).where(_ROWS.stage == Stage.SUPERSEDED.value)
    row = connection.execute(query.order_by(_ROWS.active_at.desc()).limit(1)).mappings().first()
    return None if row is None else _release(row)


def _restored(connection: Connection, active: Release) -> bool:
    """Whether it became active when another one was rolled back: both are of one moment."""
    then = _ROWS.stage == Stage.ROLLED_BACK.value, _ROWS.changed_at == active.active_at
    was = select(_ROWS.number).where(*then, _ROWS.active_at > 0).limit(1)
    return connection.execute(was).first() is not None


def _find(connection: Connection, number: int) -> Release | None:
    query = select(POLICY_RELEASES).where(_ROWS.number == number)
    row = connection.execute(query).mappings().first()
    return None if row is None else _release(row)


def _there(connection: Connection, number: int) -> Release:
    found = _find(connection, number)
    if found is None:
        raise Problem("PC7030", f"there is no release {number}")
    return found


def _put(
    connection: Connection,
    release: Release,
    verb: Verb,
    *,
    at: float,
    by: str = "",
    reason: str = "",
    share: int = 0,
) -> Release:
    stage = after(release.stage, verb)
    return _store(
        connection,
        msgspec.structs.replace(
            release,
            stage=stage,
            share=share,
            by=by,
            reason=reason,
            changed_at=at,
            active_at=at if stage is Stage.ACTIVE else release.active_at,
        ),
    )


def _store(connection: Connection, release: Release) -> Release:
    row = _row(release)
    connection.execute(update(POLICY_RELEASES).where(_ROWS.number == release.number).values(row))
    count(connection, POLICY_RELEASES)
    return release


def _row(release: Release) -> dict[str, Any]:
    row = msgspec.structs.asdict(release)
    approvals = msgspec.json.encode(release.approvals).decode()
    return row | {"stage": release.stage.value, "approvals": approvals}


def _release(row: RowMapping) -> Release:
    approvals = _approvals(row["approvals"])
    return Release(**{**row, "stage": Stage(row["stage"]), "approvals": approvals})


def _purpose(number: int) -> str:
    return f"policy_texts:{number}"
