"""Moments, as cases and the command line write them."""

from __future__ import annotations

from datetime import UTC, datetime

FORM = "a moment with its zone (2026-11-23T09:30:00+01:00), or a date, from midnight UTC"


def moment(text: str) -> float | None:
    """Seconds since the epoch of RFC 3339, or of a date at midnight UTC; None for another form."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.tzinfo is None:
        if len(text) != len("2026-11-23"):
            return None
        found = found.replace(tzinfo=UTC)
    return found.timestamp()
