"""Calls that wait for a human, and agents that may not ask any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATES = "'pending', 'approved', 'denied', 'expired', 'cancelled', 'consumed'"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("binding", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(63), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("server", sa.String(63), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("risk", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("settled_at", sa.Double, nullable=False),
        sa.Column("decided_by", sa.String(63), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("reminded_at", sa.Double, nullable=False),
        sa.Column("escalated_at", sa.Double, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=True),
        sa.CheckConstraint(f"state IN ({_STATES})", name="approvals_state"),
    )
    for column in ("state", "binding", "agent"):
        op.create_index(f"ix_approvals_{column}", "approvals", [column])
    op.create_table(
        "freezes",
        sa.Column("agent", sa.String(63), primary_key=True),
        sa.Column("frozen_at", sa.Double, nullable=False),
        sa.Column("lifted_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Take them away again: what waited is asked anew, and nobody is frozen."""
    op.drop_table("freezes")
    op.drop_table("approvals")
