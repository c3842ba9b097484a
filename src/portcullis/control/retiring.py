"""Retiring gateways of other hosts: on record first, then for ever."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.hosts import Presence

RETIRE: Final = "gateways.retire"


class Hosts(Protocol):
    """The gateways of other hosts. Every method blocks; Problem PC9002 for a fault.

    ``find`` returns what the gateway of a name said last; Problem PC7097 where no host has one,
    PC7098 for one that is retired. ``retire`` has every process refuse it, itself included.
    """

    def find(self, name: str) -> Presence: ...  # noqa: D102 - the class says it
    def retire(self, found: Presence) -> None: ...  # noqa: D102 - the same


class Retiring:
    """Has gateways never serve again."""

    def __init__(self, hosts: Hosts, records: Records, route: str) -> None:
        self._hosts = hosts
        self._records = records
        self._route = route

    async def retire(self, context: Context, name: str, reason: str) -> Presence:
        """Retire the gateway ``name``; what it said last. Raises as ``Hosts.find`` does."""
        found = await asyncio.to_thread(self._hosts.find, name)
        said = {"host": found.host, "log": found.log, "vkey": found.vkey, "reason": reason}
        await self._records.act(context, RETIRE, name, route=self._route, parameters=said)
        await asyncio.to_thread(self._hosts.retire, found)
        return found
