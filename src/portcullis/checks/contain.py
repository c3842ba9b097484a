"""Contain: who is cut off gets nothing, in any phase; and nobody does while that is unknown."""

from __future__ import annotations

from typing import ClassVar, Final

from portcullis.core.call import Call, Context, Result
from portcullis.core.check import Check
from portcullis.core.ports import KillFeed
from portcullis.core.verdict import PASS, Deny, Verdict

_STALE: Final = Deny(code="PC4002", reason="the containment feed may have missed something")


class Contain(Check):
    """Consults the kill feed before a call, on its result and on every chunk of a stream."""

    name: ClassVar[str] = "contain"

    def __init__(self, feed: KillFeed) -> None:
        self._feed = feed

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Deny PC4002 when the feed is stale, PC4001 when the principal or session is cut off."""
        del call, facts
        return self._look(context)

    def judge_result(self, call: Call, context: Context, result: Result) -> Verdict:
        """The same before a result is passed on."""
        del call, result
        return self._look(context)

    def judge_chunk(self, call: Call, context: Context) -> Verdict:
        """The same before each piece of a stream."""
        del call
        return self._look(context)

    def _look(self, context: Context) -> Verdict:
        if self._feed.stale():
            return _STALE
        reason = self._feed.reason(context.principal, context.session)
        return PASS if reason is None else Deny(code="PC4001", reason=reason)
