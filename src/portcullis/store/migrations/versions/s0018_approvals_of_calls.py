"""Which approval a call consumed or waits for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; rows that are there already name none."""
    column = sa.Column("approval", sa.String(64), nullable=False, server_default="")
    op.add_column("audit_events", column)


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("audit_events", "approval")
