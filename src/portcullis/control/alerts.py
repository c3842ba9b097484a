"""Alerts, for operators: what they do about one is recorded before it takes effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from portcullis.control.records import Records
from portcullis.core.alert import Alert, Silence, Verb, Wanted, after
from portcullis.core.alert_ports import AlertChanges, AlertStore
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.oversight.alerts.fields import known

PAGE: Final = 100
"""Most alerts of one page."""
LONGEST_SECONDS: Final = 30 * 86_400
"""The longest that a silence may be made for."""
SETTLED: Final = {
    Verb.ACKNOWLEDGE: "alert.acknowledged",
    Verb.RESOLVE: "alert.resolved",
}
"""The method under which it stands in the log that an operator did so."""


@dataclass(frozen=True, slots=True)
class AlertParts:
    """Where alerts are, and what channels are to be told of them."""

    store: AlertStore
    changes: AlertChanges


class Alerting:
    """Lists, shows, acknowledges, resolves and silences. ``route`` is as in ``Principals``."""

    def __init__(
        self,
        parts: AlertParts,
        records: Records,
        clock: Clock,
        new_id: Callable[[], str],
        route: str,
    ) -> None:
        self._store = parts.store
        self._records = records
        self._clock = clock
        self._new_id = new_id
        self._route = route

    async def list(self, wanted: Wanted, before: str = "", limit: int = PAGE) -> tuple[Alert, ...]:
        """A page of alerts, the newest first, those before the id ``before``."""
        return await asyncio.to_thread(self._store.page, wanted, before, min(limit, PAGE))

    async def show(self, alert: str) -> Alert:
        """One alert. Raises Problem PC8020 where there is none."""
        found = await asyncio.to_thread(self._store.get, alert)
        if found is None:
            raise Problem("PC8020", "there is no alert of this id")
        return found

    async def settle(self, context: Context, alert: str, verb: Verb, reason: str) -> Alert:
        """Acknowledge or resolve it. Raises Problem PC8020, PC8021 when it is past that."""
        found = await self.show(alert)
        after(found.state, verb)
        said = {"rule": found.rule, "level": found.level.value, "reason": reason}
        await self._records.act(context, SETTLED[verb], alert, route=self._route, parameters=said)
        by = context.principal.id
        return await asyncio.to_thread(lambda: self._store.move(alert, verb, by=by, reason=reason))

    async def silences(self) -> tuple[Silence, ...]:
        """The silences in force, by when they end."""
        return await asyncio.to_thread(self._store.silences)

    async def silence(
        self,
        context: Context,
        rule: str,
        matching: Mapping[str, str],
        seconds: int,
        reason: str,
    ) -> Silence:
        """Have nobody told of alerts of ``rule``, a name or a glob, for so long.

        Of those only whose group has all of ``matching``. A rule that is kept is silenced by its
        own name alone. Raises Problem PC8022 for what is no field of events.
        """
        for name in matching:
            if not known(name):
                raise Problem("PC8022", f"events have no field {name}")
        now = self._clock.now()
        made = Silence(
            id=self._new_id(),
            rule=rule,
            matching=dict(matching),
            made_at=now,
            until=now + min(seconds, LONGEST_SECONDS),
            by=context.principal.id,
            reason=reason,
        )
        said = {"rule": rule, "matching": made.matching, "seconds": seconds, "reason": reason}
        await self._records.act(
            context, "alert.silenced", made.id, route=self._route, parameters=said
        )
        await asyncio.to_thread(self._store.silence, made)
        return made

    async def unsilence(self, context: Context, silence: str, reason: str) -> None:
        """End a silence. Raises Problem PC8023 when none of this id is in force."""
        if not any(one.id == silence for one in await self.silences()):
            raise Problem("PC8023", "there is no silence of this id in force")
        await self._records.act(
            context,
            "alert.unsilenced",
            silence,
            route=self._route,
            parameters={"reason": reason},
        )
        await asyncio.to_thread(self._store.unsilence, silence)
