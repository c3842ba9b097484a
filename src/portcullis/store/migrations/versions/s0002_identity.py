"""Life cycle of principals, registration entries, join tokens, what operators log in with."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATES = "state IN ('active', 'suspended', 'expired', 'revoked')"
_REVIEW_SECONDS = 90 * 86_400


def upgrade() -> None:
    """Add the columns and tables; agents that were registered before get a review date."""
    with op.batch_alter_table("principals") as table:
        table.drop_constraint("principals_state", type_="check")
        table.add_column(sa.Column("purpose", sa.String(200), nullable=False, server_default=""))
        table.add_column(sa.Column("review_at", sa.Double, nullable=False, server_default="0"))
        table.add_column(sa.Column("spiffe_id", sa.String(2048), nullable=False, server_default=""))
        table.add_column(sa.Column("rotated_at", sa.Double, nullable=False, server_default="0"))
    op.execute("UPDATE principals SET state = 'suspended' WHERE state = 'disabled'")
    review = sa.text("UPDATE principals SET review_at = :at WHERE kind = 'agent'")
    op.execute(review.bindparams(at=time.time() + _REVIEW_SECONDS))
    with op.batch_alter_table("principals") as table:
        for name in ("purpose", "review_at", "spiffe_id", "rotated_at"):
            table.alter_column(name, server_default=None)
        table.create_check_constraint("principals_state", _STATES)
    op.create_index("ix_principals_review_at", "principals", ["review_at"])
    op.create_index(
        "ix_principals_spiffe_id",
        "principals",
        ["spiffe_id"],
        unique=True,
        sqlite_where=sa.text("spiffe_id <> ''"),
        postgresql_where=sa.text("spiffe_id <> ''"),
    )
    op.create_table(
        "entries",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("principal", sa.String(63), nullable=False),
        sa.Column("selectors", sa.JSON, nullable=False),
        sa.Column("ttl_seconds", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "join_tokens",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("principal", sa.String(63), nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.create_table(
        "operator_credentials",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("password", sa.String(200), nullable=False),
        sa.Column("totp", sa.LargeBinary, nullable=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locked_until", sa.Double, nullable=False),
    )
    op.create_table(
        "versions",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Take them away again. Nobody comes back to life: all but the active end up disabled."""
    for name in ("versions", "operator_credentials", "join_tokens", "entries"):
        op.drop_table(name)
    op.drop_index("ix_principals_spiffe_id", "principals")
    op.drop_index("ix_principals_review_at", "principals")
    with op.batch_alter_table("principals") as table:
        table.drop_constraint("principals_state", type_="check")
        for name in ("purpose", "review_at", "spiffe_id", "rotated_at"):
            table.drop_column(name)
    op.execute("UPDATE principals SET state = 'disabled' WHERE state <> 'active'")
    with op.batch_alter_table("principals") as table:
        table.create_check_constraint("principals_state", "state IN ('active', 'disabled')")
