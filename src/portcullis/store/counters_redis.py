"""Counts that any number of gateways share, in Valkey or Redis: each call is one atomic script.

All keys of a deployment have one hash tag, so that they lie in one slot of a cluster. What the
server forgets is forgotten: it has to persist (``appendonly yes``), or a restart of it gives
budgets back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog

from portcullis.core.errors import Problem
from portcullis.core.limits import (
    MICROS,
    Amount,
    Over,
    Rate,
    Reservation,
    Slot,
    State,
    Used,
    Want,
)
from portcullis.core.ports import Clock
from portcullis.store.counters import LEASE, changes
from portcullis.store.counters_lua import END, RENEW, RESERVE
from portcullis.store.redis_address import FAULTS, connected, parsed
from portcullis.store.redis_health import forgets
from portcullis.store.redis_script import SKEW, Script, Timed, ahead

_ROUNDS: Final = 20
"""Most pieces of the index that are looked at for one page."""

log = structlog.get_logger(__name__)


class RedisCounter:
    """Implements ``core.limit_ports.Counter``. ``url`` may hold a password: it is shown nowhere.

    ``name`` sets the deployment's counts apart from others' in the same server. Where the address
    names ``replicas``, a reservation that so many do not have within half of ``seconds`` is denied,
    and stays counted. So is one by a ``clock`` that is more than ``skew`` seconds from the server's
    (PC3073): its windows are not the others'. Raises Problem PC7085 for an address that is not
    good.
    """

    def __init__(
        self, url: str, name: str, clock: Clock, *, seconds: float = 1.0, skew: float = SKEW
    ) -> None:
        self._clock = clock
        self._skew = skew
        self._prefix = f"portcullis:{{{name}}}:limits:"
        address = parsed(url)
        self._replicas = address.replicas
        self._patience = int(seconds * 500)
        self._redis = connected(address, seconds=seconds, decode=True)
        self._reserve = Timed(RESERVE)
        self._end = Timed(END)
        self._renew = Timed(RENEW)

    async def reserve(
        self, reservation: str, wants: Sequence[Want], *, hold: float
    ) -> Reservation | Over:
        """See Counter."""
        said = await self._asked(reservation, wants, hold)
        if isinstance(said, Over):
            return said
        return Reservation(id=reservation, wants=tuple(wants), states=said)

    async def peek(self, wants: Sequence[Want]) -> Over | None:
        """See Counter."""
        said = await self._asked("", wants, 0.0)
        return said if isinstance(said, Over) else None

    async def settle(self, reservation: Reservation, actual: Sequence[int]) -> None:
        """See Counter."""
        await self._ended(reservation, actual)

    async def release(self, reservation: Reservation) -> None:
        """See Counter."""
        await self._ended(reservation, None)

    async def renew(self, reservations: Sequence[Reservation]) -> None:
        """See Counter."""
        places = [
            (self._prefix + want.key, one.id)
            for one in reservations
            for want in one.wants
            if isinstance(want, Slot)
        ]
        if places:
            now = f"{self._clock.now():.6f}"
            held = f"{self._prefix}#r:"
            keys = [one for key, name in places for one in (key, held + name)]
            await self._run(self._renew, keys, [now, LEASE, *(name for _, name in places)])

    async def read(self, keys: Sequence[str]) -> tuple[int, ...]:
        """See Counter."""
        return tuple(one.value if one else 0 for one in await self._looked(keys))

    async def page(self, after: str, count: int) -> tuple[Used, ...]:
        """See Counter."""
        found: list[Used] = []
        for _ in range(_ROUNDS):
            least = f"({after}" if after else "-"
            try:
                found_keys = await self._redis.zrangebylex(
                    self._prefix + "#index", least, "+", 0, count
                )
                keys = [str(key) for key in found_keys]  # decode_responses says so
            except FAULTS as error:
                raise _uncounted(error) from None
            found += [one for one in await self._looked(keys) if one is not None]
            if len(found) >= count or len(keys) < count:
                break
            after = keys[-1]
        return tuple(found[:count])

    async def lacking(self) -> str:
        """Why the server may give budgets back, in words; empty where it keeps what is counted.

        A snapshot now and then is taken for keeping it. Raises Problem PC3073 when it cannot be
        reached.
        """
        try:
            return await forgets(self._redis)
        except FAULTS as error:
            raise _uncounted(error) from None

    async def close(self) -> None:
        """See Counter."""
        await self._redis.aclose()

    async def _asked(
        self, reservation: str, wants: Sequence[Want], hold: float
    ) -> tuple[State, ...] | Over:
        now = self._clock.now()
        keys = [self._prefix + "#index", self._prefix + "#ends"]
        keys += [f"{self._prefix}#r:{reservation}", *(self._prefix + want.key for want in wants)]
        arguments: list[Any] = [f"{now:.6f}", int(now * MICROS), reservation, int(hold * 1000)]
        arguments += [LEASE, len(self._prefix)]
        for want in wants:
            if isinstance(want, Amount):
                arguments += ["a", want.amount, want.ceiling, f"{want.ends_at:.6f}"]
            elif isinstance(want, Rate):
                arguments += ["r", want.interval, want.burst, 0]
            elif isinstance(want, Slot):
                arguments += ["s", want.ceiling, 0, 0]
        said = await self._run(self._reserve, keys, arguments, held=bool(reservation))
        if said[0] == 0:
            return Over(int(said[1]), float(said[2]))
        pairs = zip(said[1::2], said[2::2], strict=True)
        return tuple(State(int(left), float(resets_at)) for left, resets_at in pairs)

    async def _ended(self, reservation: Reservation, actual: Sequence[int] | None) -> None:
        """What is given back is sent too: the script knows whether it is late."""
        keys = [f"{self._prefix}#r:{reservation.id}"]
        keys += [self._prefix + "#index", self._prefix + "#ends"]
        now = f"{self._clock.now():.6f}"
        arguments: list[Any] = [now, reservation.id, len(self._prefix)]
        for want, change in changes(reservation.wants, actual, alive=True):
            keys.append(self._prefix + want.key)
            amount = isinstance(want, Amount)
            until = f"{want.ends_at:.6f}" if isinstance(want, Amount) else "0"
            arguments += ["a" if amount else "r", change, until]
        for want in reservation.wants:
            if isinstance(want, Slot):
                keys.append(self._prefix + want.key)
                arguments += ["s", 0, 0]
        await self._run(self._end, keys, arguments)

    async def _looked(self, keys: Sequence[str]) -> list[Used | None]:
        now = self._clock.now()
        if not keys:
            return []
        try:
            async with self._redis.pipeline(transaction=False) as asking:
                for key in keys:
                    asking.hmget(self._prefix + key, "v", "e", "k")
                    asking.zrange(self._prefix + key, 0, -1, withscores=True)
                said = await asking.execute(raise_on_error=False)
        except FAULTS as error:
            raise _uncounted(error) from None
        return [
            _used(key, said[index * 2], said[index * 2 + 1], now) for index, key in enumerate(keys)
        ]

    async def _run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Any], *, held: bool = False
    ) -> Any:
        """What a script says; ``held`` has what it wrote be with the replicas, too."""
        arguments = (*arguments, self._skew)
        try:
            if held and self._replicas:
                return await script.held(
                    self._redis, keys, arguments, self._replicas, self._patience
                )
            return await script.run(self._redis, keys, arguments)
        except FAULTS as error:
            raise _uncounted(error) from None


def _used(key: str, count: Any, places: Any, now: float) -> Used | None:
    """One of the two is an error: a key is either a count or a set of places."""
    if isinstance(places, list) and places:
        alive = [float(until) for _, until in places if float(until) > now]
        if not alive:
            return None
        return Used(key=key, kind="slots", value=len(alive), ends_at=max(alive))
    if not isinstance(count, list) or count[0] is None or float(count[1]) <= now:
        return None
    kind = "rate" if count[2] == "r" else "amount"
    return Used(key=key, kind=kind, value=int(count[0]), ends_at=float(count[1]))


def _uncounted(error: Exception) -> Problem:
    seconds = ahead(error)
    if seconds is not None:
        log.warning("counts_clock_differs", seconds=seconds)
        which = "ahead of" if seconds > 0 else "behind"
        said = f"the clock here is {abs(seconds)} seconds {which} that of the server of the counts"
        return Problem("PC3073", said)
    log.warning("counts_not_reached", fault=type(error).__name__)
    return Problem("PC3073", "the server of the counts cannot be reached, or failed")
