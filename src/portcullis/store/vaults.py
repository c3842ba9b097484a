"""Placeholders and the values behind them: in memory only, bounded, gone when unused for long.

What was a session's is gone with it.

A restart forgets them: what a model still says in placeholders then stays as it is. Numbers are
never given twice in a session, lest what is remembered of one value brings back another: a vault
whose session may have had one before counts from the microseconds that the session has lasted,
and to give a number takes longer than one.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

ENTRIES: Final = 4096
"""Most values in one vault."""
VAULT_BYTES: Final = 2**20
"""Most that the values of one vault may weigh, in UTF-8."""
VAULTS: Final = 4096
"""Most vaults; the one that was used longest ago goes first."""
ALL_BYTES: Final = 64 * 2**20
"""Most that all values together may weigh; then too the vault used longest ago goes."""
IDLE_SECONDS: Final = 12 * 3600


class LocalVault:
    """Implements ``core.inspection_ports.Vault``. ``grew`` is told by how many bytes, each time.

    ``given`` is the last number that may have been given before.
    """

    def __init__(self, grew: Callable[[int], None], given: int = 0) -> None:
        self.grew = grew
        self._given = given
        self.size = 0
        self._numbers: Counter[str] = Counter()
        self._placeholders: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self.used_at = 0.0

    def hide(self, entity: str, value: str) -> str:
        """The placeholder of a value. Raises Problem PC3025 when there is no room for it."""
        known = self._placeholders.get((entity, value))
        if known is not None:
            return known
        size = len(value.encode("utf-8", "surrogatepass"))
        if len(self._values) >= ENTRIES or self.size + size > VAULT_BYTES:
            raise Problem("PC3025", "too many values behind placeholders: open a new session")
        self._numbers[entity] += 1
        placeholder = f"<{entity}_{self._given + self._numbers[entity]}>"
        self._placeholders[entity, value] = placeholder
        self._values[placeholder] = value
        self.size += size
        self.grew(size)
        return placeholder

    def reveal(self, placeholder: str) -> str | None:
        """The value behind a placeholder of this vault."""
        return self._values.get(placeholder)


class LocalVaults:
    """Implements ``core.inspection_ports.Vaults``; use it from one event loop."""

    def __init__(
        self,
        clock: Clock,
        *,
        vaults: int = VAULTS,
        size: int = ALL_BYTES,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._clock = clock
        self._most = vaults
        self._room = size
        self._idle = idle_seconds
        self._vaults: OrderedDict[str, LocalVault] = OrderedDict()
        self._complete_since = clock.now()
        """A session that was opened later has its vault here, or has had none."""

    async def refresh(self, key: str, since: float = math.inf) -> None:
        """See Vaults: nobody else hides anything."""

    def vault(self, key: str, since: float = math.inf) -> LocalVault:
        """See Vaults; new when the key has none (any more)."""
        now = self._clock.monotonic()
        while self._vaults and now - self._oldest().used_at >= self._idle:
            self._forget()
        vault = self._vaults.get(key)
        if vault is None:
            vault = self._vaults[key] = LocalVault(self._grown, self._given(since))
            if len(self._vaults) > self._most:
                self._forget()
        vault.used_at = now
        self._vaults.move_to_end(key)
        return vault

    def end(self, is_open: Callable[[str], bool]) -> None:
        """Forget the vaults of sessions that are no longer open."""
        for key in [key for key in self._vaults if not is_open(key)]:
            self._gone(self._vaults.pop(key))

    def _given(self, since: float) -> int:
        """The highest number that an earlier vault can have given, of a key so old."""
        if since >= self._complete_since:
            return 0
        return int(max(self._clock.now() - since, 0) * 1e6)

    def _oldest(self) -> LocalVault:
        return next(iter(self._vaults.values()))

    def _forget(self) -> None:
        _, gone = self._vaults.popitem(last=False)
        self._complete_since = math.nextafter(self._clock.now(), math.inf)
        self._gone(gone)

    def _gone(self, vault: LocalVault) -> None:
        self._room += vault.size
        vault.grew = _alone

    def _grown(self, size: int) -> None:
        """One vault grew, the one used last: others go until there is room again."""
        self._room -= size
        while self._room < 0 and len(self._vaults) > 1:
            self._forget()


def _alone(size: int) -> None:
    """Nobody counts what a forgotten vault still takes: the call that holds it ends soon."""
    del size
