"""What goes on in quarantine."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

Otherwise: TypeAlias = Literal["deny", "hold"]
"""What becomes of everything else: it is denied, or a human is asked about each call."""


QUARANTINE: Final = "in quarantine"
"""How the question begins that an approver of an isolated agent's call is asked. It is part of
what an approval is for: one from before the quarantine is for less."""


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    """What an isolated agent or session may still do; by default to list, and nothing else.

    ``reads`` are qualified tools (``server.tool``) of which calls go on that only read, ``models``
    globs of models.
    """

    reads: frozenset[str] = frozenset()
    models: tuple[str, ...] = ()
    otherwise: Otherwise = "deny"

    def asks(self, model: str) -> bool:
        """Whether a model may be asked."""
        return any(fnmatchcase(model, one) for one in self.models)

    def reads_with(self, server: str, tool: str) -> bool:
        """Whether a tool may be called, where that only reads."""
        return f"{server}.{tool}" in self.reads


class QuarantineRules(Protocol):
    """Says what the policy in force allows in quarantine: O(1)."""

    def quarantine(self) -> Quarantine:
        """What goes on."""
        ...
