"""What sessions have learned: sealed, and gone with their session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "session_labels",
        sa.Column("session", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_session_labels_expires_at", "session_labels", ["expires_at"])


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("session_labels")
