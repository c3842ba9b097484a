"""What people are told at once, besides what waits for them."""

from __future__ import annotations

from typing import Protocol


class Alarm(Protocol):
    """Takes what somebody on duty should know. Quick, awaits nothing and raises nothing.

    ``kind`` is one of few words of ours (``breaker.open``, ``quarantine``), ``subject`` whom or
    what it is about (``agent:NAME``, ``upstream:NAME``), ``reason`` why: names, codes and
    figures, never content.
    """

    def raised(self, kind: str, subject: str, reason: str) -> None:
        """Something happened that should not wait until somebody looks."""
        ...
