"""When an agent may ask for nothing more: who is asked too often approves anything."""

from __future__ import annotations

from portcullis.config import Approvals


def freezes(denials: int, settings: Approvals) -> bool:
    """Whether that many of an agent's calls denied within ``refusals_seconds`` are too many."""
    return denials >= settings.refusals
