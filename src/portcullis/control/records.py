"""What the APIs write to the audit log: acts before they take effect, refusals as they happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.core.ports import Clock, Recorder
from portcullis.core.principal import Principal, Session, subject_key, user_key
from portcullis.wire.json import encode

MAX_TEXT: Final = 256
"""Longest text of the caller's in a record, in characters."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A request's origin, before and after it is known who asks.

    ``route`` is the face of the gate: ``api``, ``control`` or ``cli``.
    """

    route: str
    source: str
    trace_id: str
    principal: Principal | None = None


class Records:
    """Builds and writes the events of the APIs. ``gateway`` names this gate."""

    def __init__(
        self, *, gateway: str, recorder: Recorder, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._gateway = gateway
        self._recorder = recorder
        self._clock = clock
        self._new_id = new_id

    async def act(
        self,
        context: Context,
        method: str,
        name: str,
        *,
        route: str,
        parameters: Mapping[str, Any] | None = None,
        session: Session | None = None,
        approval: str = "",
    ) -> Event:
        """Record durably that ``context``'s principal is about to do ``method`` to ``name``.

        ``parameters`` stand in the log in clear. Of a session its user is committed to under the
        user's key, its subject and prompt under the data subject's. Returns the event. Raises
        Problem PC6001: then do not act.
        """
        commitments = {}
        if session is not None:
            key = subject_key(context.principal, session)
            commitments = {
                "user": self._recorder.commitment(user_key(session), session.user.encode()),
                "subject": self._recorder.commitment(key, encode(session.subject)),
                "prompt": self._recorder.commitment(key, session.prompt.encode()),
            }
        event = self._event(
            EventType.ADMIN,
            Caller(
                route=route,
                source=context.source,
                trace_id=context.trace_id,
                principal=context.principal,
            ),
            method,
            name,
            verdict="allow",
            parameters=dict(parameters or {}),
            commitments=commitments,
            session=session.id if session else (context.principal.session or ""),
            approval=approval,
            application=session.application if session else "",
        )
        await self._recorder.durable(event)
        return event

    def refused(self, problem: Problem, caller: Caller, method: str, name: str = "") -> Problem:
        """Record a refusal; returns the problem to answer with (PC6001 when it has no record)."""
        known = caller.principal is not None and not problem.code.startswith("PC1")
        event = self._event(
            EventType.ADMIN if known else EventType.ERROR,
            caller,
            method,
            name,
            verdict="deny",
            code=problem.code,
            reason=problem.detail,
            credential=problem.credential,
        )
        try:
            self._recorder.enqueue(event)
        except Problem as unrecorded:
            return unrecorded
        return problem

    def _event(
        self, kind: EventType, caller: Caller, method: str, name: str, **fields: Any
    ) -> Event:
        principal = caller.principal
        if principal is not None:
            fields.setdefault("session", principal.session or "")
            fields["credential"] = principal.credential
            if principal.break_glass:
                fields["parameters"] = {
                    **fields.get("parameters", {}),
                    "break_glass": principal.break_glass,
                }
        return Event(
            v=1,
            id=self._new_id(),
            time=datetime.fromtimestamp(self._clock.now(), UTC),
            type=kind,
            gateway=self._gateway,
            trace_id=caller.trace_id,
            principal_kind=principal.kind if principal else "",
            principal=principal.id if principal else "",
            source=caller.source,
            route=caller.route,
            method=method[:MAX_TEXT],
            name=name[:MAX_TEXT],
            **fields,
        )
