"""What containment needs from outside: where the labels of sessions are."""

from __future__ import annotations

from typing import Protocol

from portcullis.core.principal import Session
from portcullis.provenance.labels import Labels


class LabelState(Protocol):
    """The labels of sessions, which only ever merge upward.

    ``merge`` returns the session's labels then; they are durable. Both raise Problem PC9002 when
    the labels cannot be read or written: then deny.
    """

    async def read(self, session: Session) -> Labels: ...  # noqa: D102 - see above
    async def merge(self, session: Session, more: Labels) -> Labels: ...  # noqa: D102 - see above
