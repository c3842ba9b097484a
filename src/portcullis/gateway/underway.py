"""Calls that were let through, within reach of an isolation that comes while they run.

Whoever is isolated meanwhile is asked about with each piece of an answer. This is for what waits:
an upstream that is silent. What quarantine lets go on is left alone, and so is what a server asks
of its client: its answer is judged when it comes.
"""

from __future__ import annotations

from collections.abc import Callable

from portcullis.core.call import Action, Call, Context, Result
from portcullis.core.check import Observer
from portcullis.core.errors import Problem
from portcullis.core.ports import KillFeed
from portcullis.core.verdict import Allow, Deny
from portcullis.gateway.live import Run, current_run


class Underway(Observer):
    """Implements ``core.check.Observer``. ``sweep`` after every change of the feed, on the loop."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[Call, Context, Run]] = {}

    def decided(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """See Observer."""
        run = current_run()
        if run is None or isinstance(verdict, Deny) or call.action is Action.SERVER_REQUEST:
            return
        self._calls[call.id] = (call, context, run)

    def finished(
        self, call: Call, context: Context, result: Result | None, problem: Deny | None
    ) -> None:
        """See Observer."""
        del context, result, problem
        self._calls.pop(call.id, None)

    def sweep(self, feed: KillFeed, judge: Callable[[Call, Context], Deny | None]) -> None:
        """End what was let through and may not go on where its caller is isolated now.

        ``judge`` says whether a piece of a call's answer may: ``chunk`` of ``gateway.pipeline``.
        """
        for call, context, run in tuple(self._calls.values()):
            if feed.isolated(context.principal, context.session) is None:
                continue
            denied = judge(call, context)
            if denied is not None:
                run.stop(Problem(denied.code, denied.reason))
