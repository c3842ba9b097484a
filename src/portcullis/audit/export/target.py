"""Where events go, and how that can fail."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Refused(Exception):  # noqa: N818 - an answer of the peer's, not a fault of ours
    """The peer will never take this: something in it is wrong."""


class Rejected(Exception):  # noqa: N818 - the same
    """The peer took the batch, but not all of it, and does not say which events it left out."""


class Unavailable(Exception):  # noqa: N818 - the same
    """The peer cannot take anything now. ``after``: not before so many seconds, when it said so."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class Batch(msgspec.Struct, frozen=True):
    """What is sent at once. ``id`` is the same whenever the same events are sent again."""

    id: str
    body: bytes
    content_type: str


class Target(Protocol):
    """Where events go.

    ``send`` returns when the peer has acknowledged the batch. It raises Refused, Rejected or
    Unavailable, within a bounded time. Their texts name statuses and system errors, never
    content, addresses or secrets.
    """

    async def send(self, batch: Batch) -> None: ...  # noqa: D102 - see above
    async def close(self) -> None: ...  # noqa: D102 - see above
