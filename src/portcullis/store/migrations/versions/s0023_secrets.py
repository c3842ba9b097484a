"""Who used which credential, and when which was rotated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "secret_uses",
        sa.Column("reference", sa.String(512), primary_key=True),
        sa.Column("version", sa.String(16), primary_key=True),
        sa.Column("agent", sa.String(63), primary_key=True),
        sa.Column("session", sa.String(64), primary_key=True),
        sa.Column("upstream", sa.String(128), primary_key=True),
        sa.Column("scope", sa.String(256), primary_key=True),
        sa.Column("first", sa.Double, nullable=False),
        sa.Column("last", sa.Double, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_secret_uses_last", "secret_uses", ["last"])
    op.create_index("ix_secret_uses_agent", "secret_uses", ["agent", "last"])
    op.create_table(
        "secret_rotations",
        sa.Column("reference", sa.String(512), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("rotated", sa.Integer, nullable=False),
        sa.Column("verified", sa.Integer, nullable=False),
        sa.Column("fault", sa.String(16), nullable=False),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("secret_rotations")
    op.drop_index("ix_secret_uses_agent", "secret_uses")
    op.drop_index("ix_secret_uses_last", "secret_uses")
    op.drop_table("secret_uses")
