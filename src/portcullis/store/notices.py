"""Notices over SQL: the ``NoticeStore`` port."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)

from portcullis.core.alert import Level
from portcullis.core.approval import Approval, State
from portcullis.core.call import RiskClass
from portcullis.core.notice import Happening, Notice
from portcullis.core.notice_ports import Filing
from portcullis.store.approvals import approval_of
from portcullis.store.approvals_pages import COLUMNS
from portcullis.store.dialect import writing
from portcullis.store.tables import APPROVALS, NOTICE_SUBJECTS, NOTICES

_STAGE: Final = case(
    (APPROVALS.c.state != State.PENDING, APPROVALS.c.state),
    (APPROVALS.c.escalated_at > 0, Happening.ESCALATED.value),
    (APPROVALS.c.reminded_at > 0, Happening.REMINDED.value),
    else_=Happening.REQUESTED.value,
)
"""How far an approval has come, as ``oversight.notices.stage`` says it."""
_NOTICES: Final = select(NOTICES.c.id, NOTICES.c.document)
_GRAVE: Final = (RiskClass.DELETE, RiskClass.EXTERNAL, RiskClass.MODIFY, RiskClass.READ)
_RANKS: Final = {one.value: number for number, one in enumerate(_GRAVE)}
_FIRST: Final = -1
_LOUD: Final = {
    Level.CRITICAL.value: -3,
    Level.HIGH.value: -2,
    Level.LOW.value: 9,
    Level.INFORMATIONAL.value: 9,
}
"""Alerts by what is told first; one of medium level is told as an agent's freezing is."""
_DAMAGED: Final = "damaged"
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Notice).decode

_Ids: TypeAlias = list[str]

log = structlog.get_logger(__name__)


class SqlNotices:
    """An adapter of ``core.notice_ports.NoticeStore``. Every method blocks.

    A damaged notice is as if it were not there; that it is damaged is logged once. When it is
    due it is set aside, and what it told of is told anew.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine, "notices")
        self._damaged: set[str] = set()

    def changes(self, channel: str, limit: int) -> tuple[Approval, ...]:
        """Approvals that the channel has not followed as far as they have come; see the port."""
        noted = NOTICE_SUBJECTS
        own = and_(noted.c.channel == channel, noted.c.subject == APPROVALS.c.id)
        pending = (
            select(*COLUMNS)
            .outerjoin(noted, own)
            .where(
                APPROVALS.c.state == State.PENDING,
                or_(noted.c.stage.is_(None), noted.c.stage != _STAGE),
            )
        )
        ended = (
            select(*COLUMNS)
            .join(noted, own)
            .where(noted.c.open == 1, APPROVALS.c.state != State.PENDING, noted.c.stage != _STAGE)
        )
        found: list[Approval] = []
        with self._engine.connect() as connection:
            for query in (ended, pending):
                ordered = query.order_by(_gravest(APPROVALS.c.risk), APPROVALS.c.created_at)
                rows = connection.execute(ordered).mappings()
                sound = (one for one in map(_sound, rows) if one is not None)
                found += islice(sound, limit)
        found.sort(key=lambda one: (_GRAVE.index(one.risk), one.created_at))
        return tuple(found[:limit])

    def following(self, channel: str, prefix: str) -> tuple[str, ...]:
        """The subjects with this beginning that are not over."""
        query = select(NOTICE_SUBJECTS.c.subject).where(
            NOTICE_SUBJECTS.c.channel == channel,
            NOTICE_SUBJECTS.c.open == 1,
            NOTICE_SUBJECTS.c.subject.startswith(prefix, autoescape=True),
        )
        with self._engine.connect() as connection:
            return tuple(connection.execute(query).scalars())

    def file(self, channel: str, filings: Sequence[Filing]) -> None:
        """Note them all, in order."""
        with self._writing.begin() as connection:
            for one in filings:
                found = self._first(connection, _under(channel, one.subject)) or self._first(
                    connection, _gathering(channel, one)
                )
                notice = one.filed(found)
                if notice is not None:
                    _keep(connection, notice, one.gathers)
                _follow(connection, channel, one, notice)

    def change(self, notice_id: str, changed: Callable[[Notice], Notice]) -> Notice | None:
        """Replace a notice by what is made of it."""
        with self._writing.begin() as connection:
            found = self._first(connection, _NOTICES.where(NOTICES.c.id == notice_id))
            if found is None:
                return None
            new = changed(found)
            _keep(connection, new)
            return new

    def due(self, channel: str, now: float, latest: float) -> Notice | None:
        """The gravest that is due, and of these the one that is for longest; see the port."""
        at = NOTICES.c.due
        query = _NOTICES.where(NOTICES.c.channel == channel, or_(at <= now, at > latest))
        query = query.order_by(NOTICES.c.rank, at)
        odd: list[str] = []
        with self._engine.connect() as connection, connection.execute(query) as rows:
            found = next(self._undamaged(rows.mappings(), odd), None)
        if odd:
            self._set_aside(odd)
        return found

    def told(self, channel: str, approval_id: str) -> bool:
        """Whether the approval is under a notice of the channel's."""
        with self._engine.connect() as connection:
            return self._first(connection, _under(channel, approval_id)) is not None

    def list(self, limit: int) -> tuple[Notice, ...]:
        """The newest, newest first."""
        query = _NOTICES.order_by(NOTICES.c.opened_at.desc())
        with self._engine.connect() as connection, connection.execute(query) as rows:
            return tuple(islice(self._undamaged(rows.mappings()), limit))

    def waiting(self, channel: str) -> int:
        """How many the channel is still to be told."""
        query = select(func.count()).where(NOTICES.c.channel == channel, NOTICES.c.due.is_not(None))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def damaged(self, channel: str) -> int:
        """How many of the channel's were set aside."""
        query = select(func.count()).where(
            NOTICES.c.channel == channel, NOTICES.c.state == _DAMAGED
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def forget(self, before: float, channels: Collection[str]) -> None:
        """Drop what is old and has nothing to tell or nobody to, and what is not followed."""
        over = or_(NOTICES.c.due.is_(None), NOTICES.c.channel.not_in(channels))
        old = delete(NOTICES).where(NOTICES.c.opened_at < before, over)
        live = select(APPROVALS.c.id)
        gone = delete(NOTICE_SUBJECTS).where(
            NOTICE_SUBJECTS.c.subject.not_in(live),
            not_(
                and_(
                    NOTICE_SUBJECTS.c.open == 1,
                    NOTICE_SUBJECTS.c.subject.contains(":"),
                    NOTICE_SUBJECTS.c.channel.in_(channels),
                )
            ),
        )
        with self._writing.begin() as connection:
            connection.execute(old)
            connection.execute(gone)

    def _first(self, connection: Connection, query: Select[tuple[str, bytes]]) -> Notice | None:
        with connection.execute(query) as rows:
            return next(self._undamaged(rows.mappings()), None)

    def _undamaged(self, rows: Iterable[RowMapping], odd: _Ids | None = None) -> Iterator[Notice]:
        """The notices that can be read; the ids of others go to ``odd``."""
        for row in rows:
            try:
                yield _decode(row["document"])
            except _UNREADABLE:
                if row["id"] not in self._damaged:
                    log.warning("notice_damaged", notice=row["id"])
                self._damaged.add(row["id"])
                if odd is not None:
                    odd.append(row["id"])

    def _set_aside(self, damaged: Collection[str]) -> None:
        """Have these wait no longer, and what is under them followed as if it were new."""
        with self._writing.begin() as connection:
            for one in damaged:
                if self._first(connection, _NOTICES.where(NOTICES.c.id == one)) is None:
                    aside = update(NOTICES).where(NOTICES.c.id == one)
                    connection.execute(aside.values(due=None, state=_DAMAGED))
                    under = delete(NOTICE_SUBJECTS).where(NOTICE_SUBJECTS.c.notice == one)
                    connection.execute(under)


def _gravest(risk: ColumnElement[Any]) -> ColumnElement[int]:
    """By what the gravest comes first; what has no risk (an agent that is frozen) before all."""
    return case(_RANKS, value=risk, else_=_FIRST)


def _rank(notice: Notice) -> int:
    """What is told first: an alert by its level, anything else by its risk."""
    gravest = _RANKS.get(notice.risk, _FIRST)
    return gravest if notice.alert is None else _LOUD.get(notice.alert.level, gravest)


def _sound(row: RowMapping) -> Approval | None:
    """An approval, or None for a damaged one: whoever lists approvals says so."""
    try:
        return approval_of(row)
    except msgspec.ValidationError:
        return None


def _under(channel: str, subject: str) -> Select[tuple[str, bytes]]:
    return _NOTICES.join(NOTICE_SUBJECTS, NOTICE_SUBJECTS.c.notice == NOTICES.c.id).where(
        NOTICE_SUBJECTS.c.channel == channel, NOTICE_SUBJECTS.c.subject == subject
    )


def _gathering(channel: str, filing: Filing) -> Select[tuple[str, bytes]]:
    return _NOTICES.where(
        NOTICES.c.channel == channel,
        NOTICES.c.gathers == filing.gathers,
        NOTICES.c.opened_at > filing.since,
    ).order_by(NOTICES.c.opened_at.desc())


def _keep(connection: Connection, notice: Notice, gathers: str = "") -> None:
    values = {
        "due": notice.next_at if notice.state == "due" else None,
        "state": notice.state,
        "document": _encode(notice),
        "rank": _rank(notice),
    }
    changed = connection.execute(update(NOTICES).where(NOTICES.c.id == notice.id).values(values))
    if not changed.rowcount:
        own = {
            "id": notice.id,
            "channel": notice.channel,
            "gathers": gathers,
            "opened_at": notice.opened_at,
        }
        connection.execute(insert(NOTICES).values(values | own))


def _follow(connection: Connection, channel: str, filing: Filing, notice: Notice | None) -> None:
    """Note how far a subject is followed."""
    noted = NOTICE_SUBJECTS
    values = {
        "stage": filing.stage,
        "open": int(not filing.over),
        "notice": notice.id if notice is not None else "",
    }
    known = and_(noted.c.channel == channel, noted.c.subject == filing.subject)
    if not connection.execute(update(noted).where(known).values(values)).rowcount:
        own = {"channel": channel, "subject": filing.subject}
        connection.execute(insert(noted).values(values | own))
