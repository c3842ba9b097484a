"""What of notices is told first, as a number: no database has to read JSON."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_RISKS = {"delete": 0, "external": 1, "modify": 2, "read": 3}
_LEVELS = {"critical": -3, "high": -2, "low": 9, "informational": 9}
_NOTICES = sa.table(
    "notices", sa.column("id", sa.String), sa.column("document", sa.LargeBinary), sa.column("rank")
)


def upgrade() -> None:
    """Add the column, and say it of the notices that there are."""
    op.add_column("notices", sa.Column("rank", sa.Integer, nullable=False, server_default="-1"))
    connection = op.get_bind()
    for notice, document in connection.execute(sa.select(_NOTICES.c.id, _NOTICES.c.document)).all():
        change = sa.update(_NOTICES).where(_NOTICES.c.id == notice)
        connection.execute(change.values(rank=_rank(document)))


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("notices", "rank")


def _rank(document: bytes) -> int:
    """As ``store.notices`` says it; a damaged one is told first, and set aside then."""
    try:
        said = json.loads(document)
        level = (said.get("alert") or {}).get("level", "")
        return _LEVELS.get(level, _RISKS.get(said.get("risk", ""), -1))
    except (ValueError, AttributeError, RecursionError, TypeError):
        return -1
