"""The ports of limits: what counts, what prices, and who is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import msgspec

from portcullis.core.behaviour import RiskLevel
from portcullis.core.limit_told import Quota
from portcullis.core.limits import Over, Reservation, Used, Want


class Counter(Protocol):
    """Counts over many keys at once, for all who share it: all of it is granted, or nothing.

    ``reserve`` takes every want, or none and says which is over (the one that resets last). What
    is reserved counts as used at once, and stays so: whoever never settles has spent what was
    estimated. ``peek`` asks the same and takes nothing. ``settle`` replaces each amount by what it
    really was (one number for each want, in their order; those of rates and slots are ignored)
    and frees the places; ``release`` gives everything back. Both do so once for a reservation: the
    second time, and more than ``hold`` seconds after, only what was more than reserved is added.
    A place that is not renewed for ``LEASE`` seconds is free again; ``renew`` keeps those of these
    reservations. ``read`` gives the values of amounts, 0 where nothing was counted. ``page`` gives
    what is counted now, by key, after the key ``after``.

    What was reserved or settled survives a crash of whoever did it: a count may be too high
    afterwards, never too low. The time is the caller's clock. Raises Problem PC3073 when it cannot
    be counted: then deny. Keys are at most 512 characters.
    """

    async def reserve(
        self, reservation: str, wants: Sequence[Want], *, hold: float
    ) -> Reservation | Over: ...
    async def peek(self, wants: Sequence[Want]) -> Over | None: ...
    async def settle(self, reservation: Reservation, actual: Sequence[int]) -> None: ...
    async def release(self, reservation: Reservation) -> None: ...
    async def renew(self, reservations: Sequence[Reservation]) -> None: ...
    async def read(self, keys: Sequence[str]) -> tuple[int, ...]: ...
    async def page(self, after: str, count: int) -> tuple[Used, ...]: ...
    async def close(self) -> None: ...


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's tokens cost, in billionths of a dollar each, from ``above`` input tokens on.

    The price of the highest step that applies is the price of all tokens of a call.
    ``written`` is for input that the provider caches, ``cached`` for what it had cached.
    ``most`` is the most tokens of an answer, 0 where nobody says; ``audio`` what tokens of sound
    cost, in and out, 0 where that is not said.
    """

    steps: tuple[tuple[int, int, int, int, int], ...]
    """``(above, input, output, cached, written)``, rising."""
    most: int = 0
    audio: tuple[int, int] = (0, 0)

    def dearer(self, times: float, *, sound: bool) -> Price:
        """The same for a dearer service, ``times`` as much; with ``sound``, all as if it were."""
        heard, spoken = self.audio if sound else (0, 0)
        steps = tuple(
            (
                step[0],
                math.ceil(max(step[1], heard) * times),
                math.ceil(max(step[2], spoken) * times),
                math.ceil(max(step[3], heard) * times),
                math.ceil(max(step[4], heard) * times),
            )
            for step in self.steps
        )
        return Price(steps=steps, most=self.most, audio=self.audio)

    def micros(self, read: int, written: int, *, cached: int = 0, stored: int = 0) -> int:
        """What a call costs, rounded up to millionths of a dollar.

        ``cached`` and ``stored`` of the ``read`` tokens came from, or went to, a cache.
        """
        step = self.steps[0]
        for one in self.steps:
            if read > one[0]:
                step = one
        plain = max(read - cached - stored, 0)
        nanos = plain * step[1] + written * step[2] + cached * step[3] + stored * step[4]
        return -(-nanos // 1000)

    def dearest(self, read: int, written: int) -> int:
        """The most that a call of this size can cost."""
        return max(self.micros(read, written), self.micros(read, written, stored=read))


class Prices(Protocol):
    """What models cost. Cached: O(1) for a model that was asked for before.

    ``ready`` says whether a model that was not takes no time either. ``price`` is None where
    nobody knows.
    """

    @property
    def ready(self) -> bool: ...
    def price(self, api: str, model: str) -> Price | None: ...


class Spent(Protocol):
    """Is told what agents spend, and who spends too fast. Quick, awaits nothing."""

    def on_spent(self, agent: str, micros: int, at: float) -> None: ...
    def on_burn(self, limit: str, agent: str) -> None: ...


class Standing(Protocol):
    """How it stands with the limits of a call that runs: what its subject may be told."""

    def quotas(self, call: str) -> tuple[Quota, ...]: ...


class Normal:
    """RiskLevels where nobody scores agents."""

    def level(self, agent: str) -> RiskLevel:
        """Always normal."""
        del agent
        return RiskLevel.NORMAL
