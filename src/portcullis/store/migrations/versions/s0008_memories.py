"""What the memories that sessions share hold: sealed, and as lasting as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "memory_labels",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("store", sa.String(129), nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_memory_labels_store", "memory_labels", ["store"])


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("memory_labels")
