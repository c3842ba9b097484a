"""Who was the first of two to approve a call, beside who decided about it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of what waits now, who is on record is the first of two."""
    for name, longest in (("endorsed_by", 63), ("endorsed_reason", 200)):
        column = sa.Column(name, sa.String(longest), nullable=False, server_default="")
        op.add_column("approvals", column)
    op.execute(
        "UPDATE approvals SET endorsed_by = decided_by, endorsed_reason = reason, "
        "decided_by = '', reason = '' WHERE state = 'pending' AND decided_by <> ''"
    )


def downgrade() -> None:
    """Take them away again."""
    op.execute(
        "UPDATE approvals SET decided_by = endorsed_by, reason = endorsed_reason "
        "WHERE state = 'pending' AND endorsed_by <> ''"
    )
    op.drop_column("approvals", "endorsed_reason")
    op.drop_column("approvals", "endorsed_by")
