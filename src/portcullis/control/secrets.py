"""Secrets, for operators: which there are, who had access to them, and making them others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.incident import Rotated
from portcullis.core.incident_ports import Rotations
from portcullis.core.ports import Clock
from portcullis.core.secret_ports import Leases, Rotation, Use
from portcullis.execution.secrets.broker import SecretBroker

HOUR: Final = 3600.0
DAY: Final = 86400.0


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that the configuration names: what it opens, and what is special about it.

    ``every`` is after how many seconds it is rotated, 0 for never; ``hook`` whether anything can.
    """

    reference: str
    upstreams: tuple[str, ...]
    every: float = 0.0
    honeytoken: bool = False
    hook: bool = False


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A secret, and what is remembered of it; times are seconds since the epoch, 0 for never.

    ``version`` is the last that was used, ``agents`` how many used it.
    """

    secret: Configured
    version: str = ""
    agents: int = 0
    used: float = 0.0
    rotated: float = 0.0
    due: float = 0.0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class SecretParts:
    """What the service stands on; ``keep_seconds`` is how long uses are remembered."""

    broker: SecretBroker
    leases: Leases
    configured: Mapping[str, Configured]
    rotations: Rotations
    keep_seconds: float


class Brokered:
    """Shows and rotates secrets. ``route`` names the face in the records."""

    def __init__(self, parts: SecretParts, records: Records, clock: Clock, route: str) -> None:
        self._parts = parts
        self._records = records
        self._clock = clock
        self._route = route

    async def list(self) -> tuple[Known, ...]:
        """All that are configured, by reference. Problem PC9002."""
        uses, rotations = await asyncio.to_thread(self._remembered)
        return tuple(
            _known(one, [use for use in uses if use.reference == one.reference], rotations)
            for one in sorted(self._parts.configured.values(), key=lambda one: one.reference)
        )

    async def access(self, agent: str, reference: str, since: float) -> tuple[Use, ...]:
        """Who used what, newest first: of an agent, of a secret, or all. Problem PC9002."""
        leases = self._parts.leases
        return await asyncio.to_thread(
            lambda: leases.uses(agent=agent, reference=reference, since=since)
        )

    async def rotate(self, context: Context, reference: str, reason: str) -> Rotated:
        """Have a secret rotated now.

        It is durable in the log before it acts, and so is what came of it. Raises Problem PC5069
        for one that is not configured.
        """
        if reference not in self._parts.configured:
            raise Problem("PC5069", f"no secret {reference} is configured")
        told = {"secret": reference, "reason": reason}
        await self._records.act(
            context, "secret.rotate", reference, route=self._route, parameters=told
        )
        done = await self._parts.rotations.rotate(reference)
        came = {"secret": reference, "verified": done.verified, "fault": done.fault}
        await self._records.act(
            context, "secret.rotated", reference, route=self._route, parameters=came
        )
        return done

    async def due(self) -> tuple[str, ...]:
        """The secrets that are to be rotated now. One that was never seen is young. PC9002."""
        now, leases = self._clock.now(), self._parts.leases
        wanted = [one for one in self._parts.configured.values() if one.every]
        if not wanted:
            return ()
        rotations = await asyncio.to_thread(leases.rotations)
        found: list[str] = []
        for one in wanted:
            last = rotations.get(one.reference)
            if last is None:
                seen = Rotation(reference=one.reference, at=now, rotated=False, verified=False)
                await asyncio.to_thread(leases.rotated, seen)
            elif now >= _due(one, last):
                found.append(one.reference)
        return tuple(found)

    async def forget(self) -> int:
        """Forget uses that are too old; how many."""
        before = self._clock.now() - self._parts.keep_seconds
        return await asyncio.to_thread(self._parts.leases.forget, before)

    def _remembered(self) -> tuple[Sequence[Use], dict[str, Rotation]]:
        return self._parts.leases.uses(), self._parts.leases.rotations()


def _due(one: Configured, last: Rotation) -> float:
    """When a secret is rotated next; after a fault it is tried again within the hour."""
    return last.at + (min(one.every, HOUR) if last.fault else one.every)


def _known(one: Configured, uses: Sequence[Use], rotations: Mapping[str, Rotation]) -> Known:
    last = rotations.get(one.reference)
    newest = max(uses, key=lambda use: use.last, default=None)
    return Known(
        secret=one,
        version=newest.version if newest else "",
        agents=len({use.agent for use in uses if use.agent}),
        used=newest.last if newest else 0.0,
        rotated=last.at if last and last.rotated else 0.0,
        due=_due(one, last) if last and one.every else 0.0,
        fault=last.fault if last else "",
    )
