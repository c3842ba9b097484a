"""By which names operators are known as users."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("principals", sa.Column("users", sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("principals", "users")
