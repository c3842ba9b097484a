"""Records that were put back to an older state: what they gave is taken back.

Nobody knows what was used up, revoked or replaced since they were so. So whatever gives somebody
something once, or until it is taken back, is gone, and every credential is older than its
principal's last rotation. Who there is, what was decided and what is cut off stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Delete, Engine, Table, case, delete, insert, update

from portcullis.core.approval import State as Approval
from portcullis.core.lifecycle import State, Verb, after
from portcullis.core.principal import PrincipalKind
from portcullis.store.dialect import writing
from portcullis.store.mark import settle
from portcullis.store.ruling import TERM
from portcullis.store.tables import (
    APPROVALS,
    CUTS,
    ISOLATIONS,
    JOIN_TOKENS,
    OPERATOR_CREDENTIALS,
    PASSKEYS,
    PRINCIPALS,
    SESSION_LABELS,
    SESSION_SPENT,
    SESSIONS,
)
from portcullis.store.tables_break_glass import BREAK_GLASS
from portcullis.store.tables_grants import CONNECT_LINKS, USER_GRANTS, USER_TOKENS
from portcullis.store.versions import advance

_GIVEN: Final = (
    *(SESSIONS, SESSION_LABELS, SESSION_SPENT),
    *(JOIN_TOKENS, CONNECT_LINKS, USER_TOKENS, USER_GRANTS),
    *(OPERATOR_CREDENTIALS, PASSKEYS),
)
_OPEN: Final = (Approval.PENDING, Approval.APPROVED)


def take_back(engine: Engine, now: float, marked: Path) -> None:
    """Void what these records gave before ``now``, in one transaction.

    They are those of the folder with the file ``marked`` (``store.mark``) from then on.
    """
    rotated = PRINCIPALS.c.rotated_at
    newest = case((rotated > now, rotated), else_=now)
    with writing(engine).begin() as connection:
        for table in _GIVEN:
            connection.execute(delete(table))
        connection.execute(update(PRINCIPALS).values(rotated_at=newest))
        over = update(APPROVALS).where(APPROVALS.c.state.in_(_OPEN))
        connection.execute(over.values(state=Approval.EXPIRED, settled_at=now, sealed=None))
        advance(connection, TERM, int(now))  # whoever ruled since is obeyed no more
        settle(connection, marked)
        ended = update(BREAK_GLASS).where(BREAK_GLASS.c.ended_at == 0)
        connection.execute(ended.values(ended_at=now))


def cut(
    engine: Engine, kind: Literal["cut", "isolation"], scope: str, value: str, at: float, why: str
) -> None:
    """Have a cut or an isolation stand, whether it does or not."""
    table = _table(kind)
    row = {"scope": scope, "value": value, "reason": why, "made_at": at, "made_by": ""}
    with writing(engine).begin() as connection:
        connection.execute(_of(table, scope, value))
        connection.execute(insert(table).values(row))


def uncut(engine: Engine, kind: Literal["cut", "isolation"], scope: str, value: str) -> None:
    """Have it stand no longer."""
    with writing(engine).begin() as connection:
        connection.execute(_of(_table(kind), scope, value))


def live(engine: Engine, kind: PrincipalKind, name: str, verb: Verb) -> bool:
    """Do to a principal what was done to it; False when there is none."""
    which = (PRINCIPALS.c.kind == kind.value, PRINCIPALS.c.id == name)
    with writing(engine).begin() as connection:
        state = connection.execute(PRINCIPALS.select().where(*which)).mappings().first()
        if state is None:
            return False
        new = after(State(state["state"]), verb)
        connection.execute(update(PRINCIPALS).where(*which).values(state=new.value))
    return True


def _table(kind: Literal["cut", "isolation"]) -> Table:
    return CUTS if kind == "cut" else ISOLATIONS


def _of(table: Table, scope: str, value: str) -> Delete:
    return delete(table).where(table.c.scope == scope, table.c.value == value)
