"""How far alerts were escalated, and when they end by themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and an index by when."""
    op.add_column(
        "alerts", sa.Column("escalated", sa.Integer, nullable=False, server_default=sa.text("0"))
    )
    op.add_column("alerts", sa.Column("quiet_at", sa.Double, nullable=True))
    op.create_index("ix_alerts_opened_at", "alerts", ["opened_at"])


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("ix_alerts_opened_at", "alerts")
    for column in ("quiet_at", "escalated"):
        op.drop_column("alerts", column)
