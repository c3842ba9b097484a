"""The ports around notices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from portcullis.core.approval import Approval
from portcullis.core.notice import Message, Notice


class Later(Exception):  # noqa: N818 - an answer of the channel's, not a fault of ours
    """The channel cannot take anything now; ``after``: not before so many seconds, if it said so.

    ``arrived``: the message may be there all the same, so that it has to be sent again as it was.
    """

    def __init__(self, reason: str, after: float = 0.0, *, arrived: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.arrived = arrived


class Never(Exception):  # noqa: N818 - the same
    """The channel will not take this message: something in it is wrong."""


class Teller(Protocol):
    """One channel of the world's. Its faults' texts hold no address, no content and no secret.

    ``tell`` returns when the channel has taken the message: by what it knows it, for the next
    telling's ``reference`` (empty for the first). It raises Later or Never, in bounded time.
    ``amends`` says whether the next telling takes the place of what was told before.
    """

    @property
    def amends(self) -> bool: ...
    async def tell(self, message: Message, reference: str) -> str: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Filing:
    """What is to be noted of one subject: an approval's id, or ``frozen:AGENT``.

    ``stage`` is how far it is followed, ``over`` that nothing more will come of it. ``filed`` gets
    the notice that it is under, or else the newest that gathers the same and was opened after
    ``since``, or None; and returns what becomes of that, or None where there is nothing to tell.
    """

    subject: str
    stage: str
    over: bool
    gathers: str
    since: float
    filed: Callable[[Notice | None], Notice | None]


class NoticeStore(Protocol):
    """Notices, durable. Every method blocks and is one transaction.

    ``changes`` are approvals that are pending, or were when the channel was last told to follow
    them, and have come further since; those that ended before anybody looked are not among them.
    ``following`` are the subjects (that begin with ``prefix``) that are not over. ``file`` notes
    all in order. ``change`` replaces a notice by what ``changed`` makes of it, and returns that;
    None when it is gone. ``due`` is, of those that are due at ``now``, the gravest (delete, then
    external), and of these the one that is due for longest; one that is due only after ``latest``
    was put off before the clock was set back, and is due. ``told`` says whether an approval is
    under a notice of the channel's. ``list`` is newest first. ``waiting`` counts those that a
    channel is still to be told. ``forget`` drops what was opened before then and has nothing to
    tell, or belongs to none of ``channels``, and what is not followed any more. ``changes`` come
    gravest first as well; what is damaged is left out, however much it is. ``damaged`` counts the
    channel's notices that were due and could not be read: they wait no longer.
    """

    def changes(self, channel: str, limit: int) -> tuple[Approval, ...]: ...
    def following(self, channel: str, prefix: str) -> tuple[str, ...]: ...
    def file(self, channel: str, filings: Sequence[Filing]) -> None: ...
    def change(self, notice_id: str, changed: Callable[[Notice], Notice]) -> Notice | None: ...
    def due(self, channel: str, now: float, latest: float) -> Notice | None: ...
    def told(self, channel: str, approval_id: str) -> bool: ...
    def list(self, limit: int) -> tuple[Notice, ...]: ...
    def waiting(self, channel: str) -> int: ...
    def damaged(self, channel: str) -> int: ...
    def forget(self, before: float, channels: Collection[str]) -> None: ...
