"""The section about the record store: principals, sessions, approvals, what else is in tables."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portcullis.config.common import LOCAL_SECRET, Section


class Store(Section):
    """Where records are kept.

    By default that is ``portcullis.db``, an SQLite file in the state directory, for the processes
    of one machine. ``url`` is a reference to the address of a database of PostgreSQL, which may
    hold a password: ``postgresql://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full``. ``pool`` is
    how many connections each part of a process that uses the store may have open at once.
    """

    url: Annotated[str, Field(pattern=LOCAL_SECRET)] | None = None
    pool: int = Field(default=8, ge=4, le=100)
