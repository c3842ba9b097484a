"""Alerts, silences, and how far the logs were looked at for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("rule", sa.String(63), nullable=False),
        sa.Column("gathers", sa.String(64), nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("told", sa.Integer, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_alerts_gathers", "alerts", ["gathers", "state"])
    op.create_index("ix_alerts_rule", "alerts", ["rule", "opened_at"])
    op.create_index("ix_alerts_state", "alerts", ["state", "id"])
    op.create_table(
        "alert_silences",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "alert_positions",
        sa.Column("log", sa.String(128), primary_key=True),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("taken", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "alert_memory",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("memory", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Take them away again."""
    for table in ("alert_memory", "alert_positions", "alert_silences", "alerts"):
        op.drop_table(table)
