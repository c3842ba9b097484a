"""What identity leaves in the log: each credential that is issued, renewed, refused or revoked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.core.ports import Clock, Recorder

log = structlog.get_logger(__name__)


class IdentityRecords:
    """Writes ``identity`` events. ``new_id`` gives ids that never repeat."""

    def __init__(
        self, gateway: str, recorder: Recorder, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._gateway = gateway
        self._recorder = recorder
        self._clock = clock
        self._new_id = new_id

    async def done(
        self,
        method: str,
        *,
        kind: str,
        principal: str,
        credential: str,
        source: str,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        """Record, durably, before a credential is handed out or a change takes effect.

        ``method`` is such as ``svid.issue``; ``credential`` is a token's id or ``svid:SERIAL``;
        ``parameters`` stand in clear (fingerprint, expires_at, attestor). Raises Problem PC6001:
        then nothing may be handed out.
        """
        await self._recorder.durable(
            self._event(
                method,
                source,
                verdict="allow",
                principal_kind=kind,
                principal=principal,
                credential=credential,
                parameters=parameters or {},
            )
        )

    def noted(
        self,
        method: str,
        *,
        kind: str,
        principal: str,
        credential: str,
        parameters: dict[str, Any],
    ) -> None:
        """Record what the gate did by itself; a log that takes nothing stops the gate anyway."""
        event = self._event(
            method,
            "time",
            verdict="allow",
            principal_kind=kind,
            principal=principal,
            credential=credential,
            parameters=parameters,
        )
        try:
            self._recorder.enqueue(event)
        except Problem as problem:
            log.critical("event_lost", code=problem.code, method=method)

    def refused(
        self,
        method: str,
        problem: Problem,
        *,
        source: str,
        kind: str = "",
        principal: str = "",
        credential: str = "",
        parameters: dict[str, Any] | None = None,
    ) -> Problem:
        """Record a refusal; returns the problem to answer with (PC6001 when it has no record)."""
        event = self._event(
            method,
            source,
            verdict="deny",
            code=problem.code,
            reason=problem.detail,
            principal_kind=kind,
            principal=principal,
            credential=credential,
            parameters=parameters or {},
        )
        try:
            self._recorder.enqueue(event)
        except Problem as unrecorded:
            return unrecorded
        return problem

    def _event(self, method: str, source: str, **fields: Any) -> Event:
        return Event(
            v=1,
            id=self._new_id(),
            time=datetime.fromtimestamp(self._clock.now(), UTC),
            type=EventType.IDENTITY,
            gateway=self._gateway,
            route="identity",
            method=method,
            source=source,
            **fields,
        )
