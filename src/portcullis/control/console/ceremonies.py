"""WebAuthn ceremonies that have begun: challenges, each good once and for a short time."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any, Final

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

SECONDS: Final = 300
"""How long a challenge is good."""
CAPACITY: Final = 1024
"""Challenges at once; the oldest goes first, so that a flood makes people try again, no more."""


class Ceremonies:
    """Keeps what the server has to know between the two halves of a ceremony."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun: OrderedDict[str, tuple[str, float, Any]] = OrderedDict()

    def begin(self, holder: str, state: Any) -> str:
        """Remember ``state`` for ``holder`` (a login's credential, or empty); its name."""
        name = secrets.token_urlsafe(16)
        self._begun[name] = holder, self._clock.now() + SECONDS, state
        if len(self._begun) > CAPACITY:
            self._begun.popitem(last=False)
        return name

    def end(self, holder: str, name: str) -> Any:
        """What was remembered, once. Raises Problem PC2083 when there is nothing (any more)."""
        whose, until, state = self._begun.pop(name, ("", 0.0, None))
        if state is None or whose != holder or self._clock.now() >= until:
            hint = "Try again: it has to be done within 5 minutes."
            raise Problem("PC2083", "the challenge is not of now", hint=hint)
        return state
