"""The breakers that are not closed, for operators."""

from __future__ import annotations

from portcullis.control.records import Records
from portcullis.core.breaker import TOLD, Breaker, State
from portcullis.core.breaker_ports import BreakerBook
from portcullis.core.call import Context
from portcullis.core.errors import Problem


class Breaking:
    """Shows and resets breakers. ``route`` names the face in the records."""

    def __init__(self, book: BreakerBook, records: Records, route: str) -> None:
        self._book = book
        self._records = records
        self._route = route

    async def list(self) -> tuple[Breaker, ...]:
        """All of every gateway, by what they are of."""
        return await self._book.all()

    async def reset(self, context: Context, name: str, reason: str) -> int:
        """Close the breakers of this name, of whichever gateways; how many there were.

        It is durable in the log before it acts. Raises Problem PC4012 when there are none.
        """
        keys = [one.key for one in await self._book.all() if one.key.name == name]
        if not keys:
            raise Problem("PC4012", f"no breaker {name} is open")
        await self._records.act(
            context,
            TOLD[State.CLOSED],
            name,
            route=self._route,
            parameters={"breaker": name, "reason": reason},
        )
        for key in keys:
            await self._book.close(key)
        return len(keys)
