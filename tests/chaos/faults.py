"""The faults: each happens, says by what one sees that it did, and is over."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from chaos.house import CONTROL, GATEWAYS, House

Proof: TypeAlias = list[str]
"""What was seen of a fault, in words; filled by the end of it."""
Fault: TypeAlias = Callable[[House, random.Random, Proof], AbstractAsyncContextManager[None]]
HOUR = 3600


@contextlib.asynccontextmanager
async def _killed(house: House, name: str, proof: Proof) -> AsyncIterator[None]:
    assert house.children[name].poll() is None, f"{name} had ended: {house.said(name)[-2000:]}"
    code = await asyncio.to_thread(house.kill, name)
    assert code == -9
    proof.append(f"{name} ended by signal 9")
    yield
    house.start(name)


@contextlib.asynccontextmanager
async def kill_gateway(house: House, chance: random.Random, proof: Proof) -> AsyncIterator[None]:
    async with _killed(house, chance.choice(GATEWAYS), proof):
        yield


@contextlib.asynccontextmanager
async def kill_control(house: House, chance: random.Random, proof: Proof) -> AsyncIterator[None]:
    async with _killed(house, CONTROL, proof):
        yield


@contextlib.asynccontextmanager
async def kill_postgres(house: House, chance: random.Random, proof: Proof) -> AsyncIterator[None]:
    await asyncio.to_thread(house.database.kill)
    proof.append("postgres ended by signal 9")
    yield
    await asyncio.to_thread(house.serve, "postgres")


@contextlib.asynccontextmanager
async def kill_redis(house: House, chance: random.Random, proof: Proof) -> AsyncIterator[None]:
    await asyncio.to_thread(house.redis.kill)
    proof.append("redis ended by signal 9")
    yield
    await asyncio.to_thread(house.serve, "redis")


def _cut(one: str, other: str) -> Fault:
    """A partition; ``gateway`` is one of them."""

    @contextlib.asynccontextmanager
    async def cut(house: House, chance: random.Random, proof: Proof) -> AsyncIterator[None]:
        here = chance.choice(GATEWAYS) if one == "gateway" else one
        await asyncio.to_thread(house.network.cut, here, other)
        yield
        dropped = await asyncio.to_thread(house.network.mend)
        proof.append(f"{_some(dropped)} packets between {here} and {other} dropped")

    return cut


@contextlib.asynccontextmanager
async def lose(house: House, chance: random.Random, proof: Proof) -> AsyncIterator[None]:
    """One packet in twenty of a gateway's, and of the control plane's, in each direction."""
    for name in (chance.choice(GATEWAYS), CONTROL):
        await asyncio.to_thread(house.network.lose, name, 0.05)
    yield
    proof.append(f"{_some(await asyncio.to_thread(house.network.mend))} packets lost")


def _jump(name: str, sign: int) -> Fault:
    """The clock of one process goes wrong by an hour, while it runs."""

    @contextlib.asynccontextmanager
    async def jump(house: House, chance: random.Random, proof: Proof) -> AsyncIterator[None]:
        who = chance.choice(GATEWAYS) if name == "gateway" else name
        before = house.shims[who].read()
        house.shims[who].jump(sign * HOUR)
        yield
        read = house.shims[who].read() - before
        proof.append(f"{who} read its clock {_some(read)} times while it was off by an hour")
        house.shims[who].jump(0)

    return jump


@contextlib.asynccontextmanager
async def fill(house: House, chance: random.Random, proof: Proof) -> AsyncIterator[None]:
    """The disk is full; who could not write is started again when there is room (docs/audit.md)."""
    await asyncio.to_thread(house.disk.fill)
    assert house.disk.left() == 0
    try:
        (house.disk.place / "more").write_bytes(b"more")
    except OSError as error:
        proof.append(f"a byte more: {error.strerror}")
    yield
    house.disk.free()
    await house.revive()


@contextlib.asynccontextmanager
async def slow(house: House, chance: random.Random, proof: Proof) -> AsyncIterator[None]:
    """Each write that has to last takes a tenth of a second and more, for everybody."""
    shims = house.shims.values()
    before = sum(one.waited() for one in shims)
    for one in shims:
        one.slow(chance.randrange(100, 400))
    yield
    for one in shims:
        one.slow(0)
    waited = sum(one.waited() for one in shims) - before
    proof.append(f"{_some(waited)} writes waited")


def _some(number: int) -> int:
    """A fault of which nobody noticed anything was none."""
    assert number > 0
    return number


FAULTS: dict[str, Fault] = {
    "kill gateway": kill_gateway,
    "kill control": kill_control,
    "kill postgres": kill_postgres,
    "kill redis": kill_redis,
    "cut gateway-redis": _cut("gateway", "redis"),
    "cut control-redis": _cut(CONTROL, "redis"),
    "cut control-postgres": _cut(CONTROL, "postgres"),
    "cut gateway-postgres": _cut("gateway", "postgres"),
    "clock of a gateway +1 h": _jump("gateway", 1),
    "clock of a gateway -1 h": _jump("gateway", -1),
    "clock of control +1 h": _jump(CONTROL, 1),
    "clock of control -1 h": _jump(CONTROL, -1),
    "disk full": fill,
    "disk slow": slow,
    "packet loss 5 %": lose,
}
