"""What becomes of approvals, as events of the log. Operators' decisions are recorded as theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from portcullis.core.approval import Approval
from portcullis.core.call import Call, Context
from portcullis.core.event import Event, EventType
from portcullis.core.ports import Clock


@dataclass(frozen=True, slots=True)
class Events:
    """Builds the events of one gate; ``new_id`` gives ids that never repeat."""

    gateway: str
    clock: Clock
    new_id: Callable[[], str]

    def asked(self, method: str, approval: Approval, call: Call, context: Context) -> Event:
        """What a caller did with its approval: asked for it, or consumed it."""
        principal, session = context.principal, context.session
        return self._event(
            method,
            approval,
            trace_id=context.trace_id,
            principal_kind=principal.kind,
            principal=principal.id,
            credential=principal.credential,
            application=session.application if session else "",
            source=context.source,
            route=call.route,
            verdict="allow",
            parameters={"call": call.id}
            | ({"expires_at": int(approval.expires_at)} if method.endswith("requested") else {}),
        )

    def befell(self, method: str, approval: Approval, **said: Any) -> Event:
        """What happened to an approval by itself: it expired, was cancelled, still waits."""
        parameters = {"agent": approval.agent} | said
        return self._event(method, approval, verdict="allow", parameters=parameters)

    def _event(self, method: str, approval: Approval, **fields: Any) -> Event:
        return Event(
            v=1,
            id=self.new_id(),
            time=datetime.fromtimestamp(self.clock.now(), UTC),
            type=EventType.ADMIN,
            gateway=self.gateway,
            session=approval.session,
            action=approval.action,
            method=method,
            server=approval.server,
            name=approval.name,
            risk=approval.risk,
            approval=approval.id,
            **fields,
        )
