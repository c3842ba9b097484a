"""All tables together, whichever module they stand in."""

from __future__ import annotations

from portcullis.store import (  # noqa: F401 - theirs are among those
    tables_break_glass,
    tables_canaries,
    tables_certificates,
    tables_grants,
    tables_hosts,
    tables_observed,
    tables_releases,
    tables_secrets,
)
from portcullis.store.tables import METADATA

__all__ = ["METADATA"]
