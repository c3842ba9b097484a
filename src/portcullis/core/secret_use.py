"""For whom credentials are being used: said once by the line, known to whatever sends."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

import msgspec

from portcullis.core.call import Context


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The agent (and session) for whose call something is sent.

    ``used`` is written to by the broker: ``REFERENCE@VERSION``, each once, for the call's record.
    """

    agent: str
    session: str
    used: list[str]


NOBODY: Final = Holder(agent="", session="", used=[])
"""The gate itself, whose uses stand in no call's record."""

holder: Final[ContextVar[Holder]] = ContextVar("holder", default=NOBODY)
"""Set when a call is allowed, for the task that carries it out and those that it starts."""


def holding(context: Context, used: list[str]) -> None:
    """Say that from here on, in this task, credentials are used for a call of this context."""
    session = context.session.id if context.session else ""
    holder.set(Holder(agent=context.principal.id, session=session, used=used))
