"""Incidents, and who is on probation after one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(80), nullable=False),
        sa.Column("agent", sa.String(63), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("unresolved", sa.Integer, nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("probation_until", sa.Double, nullable=False),
        sa.Column("factor", sa.Double, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index(
        "ix_incidents_one",
        "incidents",
        ["subject"],
        unique=True,
        sqlite_where=sa.text("unresolved = 1"),
        postgresql_where=sa.text("unresolved = 1"),
    )
    op.create_index("ix_incidents_subject", "incidents", ["subject", "id"])
    op.create_index("ix_incidents_probation_until", "incidents", ["probation_until"])


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("incidents")
