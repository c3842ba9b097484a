"""Who is isolated, and who said so; of cuts too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the column."""
    op.add_column("cuts", sa.Column("made_by", sa.String(64), nullable=False, server_default=""))
    op.create_table(
        "isolations",
        sa.Column("scope", sa.String(16), primary_key=True),
        sa.Column("value", sa.String(64), primary_key=True),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False, server_default=""),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("isolations")
    with op.batch_alter_table("cuts") as cuts:
        cuts.drop_column("made_by")
