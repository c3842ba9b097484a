"""What operators are told, until it is delivered; and why a call is held, without content."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and the column."""
    op.add_column("approvals", sa.Column("why", sa.String(200), nullable=False, server_default=""))
    op.create_table(
        "notices",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("channel", sa.String(63), nullable=False),
        sa.Column("gathers", sa.Text, nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("due", sa.Double, nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_notices_opened_at", "notices", ["opened_at"])
    op.create_index("ix_notices_channel", "notices", ["channel", "due"])
    op.create_index("ix_notices_gathers", "notices", ["channel", "gathers", "opened_at"])
    op.create_table(
        "notice_subjects",
        sa.Column("channel", sa.String(63), primary_key=True),
        sa.Column("subject", sa.String(80), primary_key=True),
        sa.Column("notice", sa.String(64), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("open", sa.Integer, nullable=False),
    )
    op.create_index("ix_notice_subjects_open", "notice_subjects", ["channel", "open"])


def downgrade() -> None:
    """Take them away again: what waits is told anew."""
    op.drop_table("notice_subjects")
    op.drop_table("notices")
    op.drop_column("approvals", "why")
