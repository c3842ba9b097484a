"""Runs the steps on the connection that ``store.engine.migrate`` hands in."""

from __future__ import annotations

from alembic import context

from portcullis.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
