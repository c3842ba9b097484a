"""How often policy denied, by calls and by sessions: each session has one voice."""

from __future__ import annotations

import hashlib
import threading
from typing import Final

from portcullis.core.release import Arm

MOST_SESSIONS: Final = 20_000
"""So many sessions are remembered; an older one counts as it stood, and anew if it goes on."""


class Weighing:
    """Counts the decisions of one side, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decisions = self._denials = self._ended = 0
        self._share = 0.0
        self._sessions: dict[bytes, tuple[int, int]] = {}

    def count(self, session: str, *, denied: bool) -> None:
        """One more decision for a session."""
        with self._lock:
            self._count(session, denied=denied)

    def _count(self, session: str, *, denied: bool) -> None:
        self._decisions += 1
        self._denials += denied
        name = _known(session)
        decisions, denials = self._sessions.get(name, (0, 0))
        before = denials / decisions if decisions else 0.0
        found = self._sessions[name] = (decisions + 1, denials + denied)
        self._share += found[1] / found[0] - before
        if len(self._sessions) > MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
            self._ended += 1

    def arm(self) -> Arm:
        """What was counted until now."""
        with self._lock:
            return Arm(
                decisions=self._decisions,
                denials=self._denials,
                sessions=self._ended + len(self._sessions),
                share=max(0.0, round(self._share, 6)),
            )


def fingerprint(session: str) -> str:
    """A session in what gateways count: the same at each of them."""
    return _known(session).hex()


def _known(session: str) -> bytes:
    return hashlib.blake2b(session.encode(), digest_size=8).digest()
