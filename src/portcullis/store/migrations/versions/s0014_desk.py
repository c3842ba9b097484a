"""What the operator's desk is searched by, and what approved calls were like."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_WAITING = (
    ("state", "state", "created_at", "id"),
    ("agent", "agent", "state", "created_at", "id"),
    ("session", "state", "session", "created_at", "id"),
    ("server", "state", "server", "created_at", "id"),
    ("name", "state", "name", "created_at", "id"),
    ("risk", "state", "risk", "created_at", "id"),
    ("expires_at", "state", "expires_at"),
    ("reminded_at", "state", "reminded_at", "created_at"),
    ("escalated_at", "state", "escalated_at", "created_at"),
    ("settled_at", "settled_at"),
)
_PLACE = ("at", "log", "number")
_DECISION = "type IN ('decision', 'tool_call', 'llm_call')"
_DECISIONS = (
    ("at", "", ""),
    ("principal", "principal", ""),
    ("session", "session", ""),
    ("name", "name", ""),
    ("verdict", "verdict", " AND verdict <> 'allow'"),
    ("code", "code", " AND code <> ''"),
    ("risk", "risk", " AND risk <> 'read'"),
)


def upgrade() -> None:
    """Add the table and the indexes."""
    for name in ("state", "agent"):
        op.drop_index(f"ix_approvals_{name}", "approvals")
    for name, *columns in _WAITING:
        op.create_index(f"ix_approvals_{name}", "approvals", columns)
    for name, column, more in _DECISIONS:
        where = sa.text(_DECISION + more)
        op.create_index(
            f"ix_decisions_{name}",
            "audit_events",
            [*filter(None, (column,)), *_PLACE],
            sqlite_where=where,
            postgresql_where=where,
        )
    op.create_table(
        "precedents",
        sa.Column("agent", sa.String(63), primary_key=True),
        sa.Column("server", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("at", sa.Double, nullable=False, index=True),
        sa.Column("event", sa.String(64), nullable=False, index=True),
        sa.Column("log", sa.String(128), nullable=False),
        sa.Column("handle", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("precedents")
    for name, *_ in _DECISIONS:
        op.drop_index(f"ix_decisions_{name}", "audit_events")
    for name, *_ in _WAITING:
        op.drop_index(f"ix_approvals_{name}", "approvals")
    for name in ("state", "agent"):
        op.create_index(f"ix_approvals_{name}", "approvals", [name])
