"""Contain: who is cut off gets nothing, in any phase; and nobody does while that is unknown.

Nor does anybody while the policy in force is, for longer than it takes to put one in force.

The end of a session is the mildest cut: what still runs in it gets nothing more either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from portcullis.core.call import Call, Context, Result
from portcullis.core.check import Check
from portcullis.core.ports import KillFeed
from portcullis.core.session_ports import SessionState
from portcullis.core.verdict import PASS, Deny, Verdict

_CLOSED: Final = Deny(code="PC2006", reason="the session has been closed or has expired")
_STALE: Final = Deny(code="PC4002", reason="the containment feed may have missed something")
_BEHIND: Final = Deny(code="PC4006", reason="the active release of policy is not in force here")


class Contain(Check):
    """Consults feed and session before a call, on its result and on every chunk of a stream.

    ``behind`` says that what would decide is not the policy in force.
    """

    name: ClassVar[str] = "contain"

    def __init__(
        self,
        feed: KillFeed,
        sessions: SessionState,
        behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._feed = feed
        self._sessions = sessions
        self._behind = behind

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Deny PC4002 (feed stale), PC4001 (cut off), PC2006 (it is over), PC4006 (policy)."""
        del call, facts
        return self.denied(context) or PASS

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """The same before a result is passed on."""
        del call, result, facts
        return self.denied(context) or PASS

    def judge_chunk(self, call: Call, context: Context) -> Verdict:
        """The same before each piece of a stream."""
        del call
        return self.denied(context) or PASS

    def denied(self, context: Context) -> Deny | None:
        """Why a caller gets nothing at all."""
        if self._feed.stale():
            return _STALE
        reason = self._feed.reason(context.principal, context.session)
        if reason is not None:
            return Deny(code="PC4001", reason=reason)
        if context.session is not None and not self._sessions.is_open(context.session.id):
            return _CLOSED
        return _BEHIND if self._behind() else None
