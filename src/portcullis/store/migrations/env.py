"""Runs the steps on the connection that ``store.engine.migrate`` hands in."""

from __future__ import annotations

from alembic import context

from portcullis.store import (  # noqa: F401 - theirs are among those
    tables_break_glass,
    tables_canaries,
    tables_certificates,
    tables_grants,
    tables_observed,
    tables_releases,
    tables_secrets,
)
from portcullis.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
