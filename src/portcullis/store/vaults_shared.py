"""Placeholders that every gateway of a machine knows: ``core.inspection_ports.Vaults``, shared.

What one gateway has hidden, any other reveals, and no two give the same number. A value is written
when it is hidden, sealed for its own row under a key that all gateways derive: no key manager is
asked on the line. The file goes with the last gateway; then placeholders are forgotten, as
``store.vaults`` forgets them. What cannot be read or written raises: the caller denies.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.store import vaults as local
from portcullis.store.volatile import Run, Volatile

log = structlog.get_logger(__name__)

_KEPT_SECONDS: Final = 600.0
"""What was read of a vault is kept for so long after it was last asked for."""
_TOUCHES: Final = 60.0
"""Seconds after which it is written down again that a vault is used."""
_NONCE: Final = 12
_SCHEMA: Final = """
CREATE TABLE vaults (complete_since REAL NOT NULL, vaults INTEGER NOT NULL, size INTEGER NOT NULL);
CREATE TABLE vault (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, given INTEGER NOT NULL,
    size INTEGER NOT NULL, used_at REAL NOT NULL
);
CREATE INDEX vault_used ON vault (used_at);
CREATE TABLE hidden (
    vault INTEGER NOT NULL, number INTEGER NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (vault, number)
) WITHOUT ROWID;
"""
_NEWS: Final = """
SELECT vault.id, vault.given, vault.size, vault.used_at, hidden.number, hidden.sealed
FROM vault LEFT JOIN hidden ON hidden.vault = vault.id AND hidden.number > ?
WHERE vault.key = ? ORDER BY hidden.number
"""


_Read: TypeAlias = Callable[[str, tuple[object, ...]], list[Any]]


class Keeper(Protocol):
    """Where vaults are shared."""

    def add(self, vault: SharedVault, entity: str, value: str) -> str: ...  # noqa: D102 - see hide


class SharedVault:
    """Implements ``core.inspection_ports.Vault``: what is in one vault as far as it was read.

    ``id`` is 0 while there is none of this key.
    """

    def __init__(self, vaults: Keeper, key: str, since: float) -> None:
        self._vaults = vaults
        self.key = key
        self.since = since
        self.id = 0
        self.used_at = self.asked_at = 0.0
        self._reset()

    def hide(self, entity: str, value: str) -> str:
        """The placeholder of a value, for all gateways from now on. Problem PC3025, PC7050."""
        known = self._placeholders.get((entity, value))
        return self._vaults.add(self, entity, value) if known is None else known

    def reveal(self, placeholder: str) -> str | None:
        """The value behind a placeholder, if it was hidden before this vault was asked for."""
        return self._values.get(placeholder)

    def known(self, entity: str, value: str) -> str | None:
        """The placeholder of a value that was read."""
        return self._placeholders.get((entity, value))

    def room(self, size: int) -> bool:
        """Whether one more value of so many bytes fits."""
        fits = self.size + size <= local.VAULT_BYTES
        return fits and len(self._values) < local.ENTRIES

    def next(self, entity: str) -> tuple[int, str]:
        """The number of the next row, and its placeholder."""
        return self.seen + 1, f"<{entity}_{self.given + self._numbers[entity] + 1}>"

    def state(self, id_: int, given: int, size: int, used_at: float) -> None:
        """What the file says of the vault; another of the same key begins anew."""
        if id_ != self.id:
            self._reset()
        self.id, self.given, self.size, self.used_at = id_, given, size, used_at

    def adopt(self, number: int, entity: str, placeholder: str, value: str) -> None:
        """One row, in their order."""
        self.seen = number
        self._numbers[entity] += 1
        self._placeholders[entity, value] = placeholder
        self._values[placeholder] = value

    def gone(self) -> None:
        """The file has no such vault."""
        if self.id:
            self._reset()

    def _reset(self) -> None:
        self.id = self.given = self.size = self.seen = 0
        self._numbers: Counter[str] = Counter()
        self._placeholders: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}


class SharedVaults:
    """Implements ``core.inspection_ports.Vaults`` for all processes with the same file and key.

    ``key`` has 32 bytes. Use it from one event loop.
    """

    def __init__(
        self,
        path: Path,
        key: bytes,
        clock: Clock,
        *,
        vaults: int = local.VAULTS,
        size: int = local.ALL_BYTES,
        idle_seconds: float = local.IDLE_SECONDS,
    ) -> None:
        self._clock = clock
        self._most = vaults
        self._size = size
        self._idle = idle_seconds
        self._touches = min(_TOUCHES, idle_seconds / 8)
        self._cipher = AESGCM(key)
        self._read: dict[str, SharedVault] = {}
        self._file = Volatile(path, _SCHEMA)
        if self._file.fresh:
            with self._file.write() as run:
                run("INSERT INTO vaults VALUES (?, 0, 0)", (clock.now(),))

    async def refresh(self, key: str, since: float = math.inf) -> None:
        """See Vaults: nothing, since each look at a vault reads the file."""

    def vault(self, key: str, since: float = math.inf) -> SharedVault:
        """See Vaults: what any gateway has hidden until now. Raises Problem PC7050."""
        found = self._read.get(key)
        if found is None:
            found = self._read[key] = SharedVault(self, key, since)
        now = found.asked_at = self._clock.monotonic()
        with _usable():
            self._refresh(found, self._file.read)
            if found.id and now - found.used_at >= self._idle:
                with self._file.write() as run:
                    self._evict(run, found.id)
                found.gone()
            elif found.id and now - found.used_at >= self._touches:
                with self._file.write() as run:
                    run("UPDATE vault SET used_at = ? WHERE id = ?", (now, found.id))
        return found

    def add(self, vault: SharedVault, entity: str, value: str) -> str:
        """Hide a value that is not known to be hidden; see ``SharedVault.hide``."""
        size, now = len(value.encode("utf-8", "surrogatepass")), self._clock.monotonic()
        with _usable(), self._file.write() as run:
            self._refresh(vault, lambda query, values: run(query, values).fetchall())
            known = vault.known(entity, value)
            if known is not None:
                return known
            if not vault.room(size):
                raise Problem("PC3025", "too many values behind placeholders: open a new session")
            if not vault.id:
                self._make(run, vault)
            number, placeholder = vault.next(entity)
            sealed = seal(self._cipher, vault, number, (entity, placeholder, value))
            run("INSERT INTO hidden VALUES (?, ?, ?)", (vault.id, number, sealed))
            change = "UPDATE vault SET size = size + ?, used_at = ? WHERE id = ?"
            run(change, (size, now, vault.id))
            run("UPDATE vaults SET size = size + ?", (size,))
            self._make_room(run, vault)
        vault.size, vault.used_at = vault.size + size, now
        vault.adopt(number, entity, placeholder, value)
        return placeholder

    def end(self, is_open: Callable[[str], bool]) -> None:
        """Forget the vaults of sessions that this gateway has seen, and that are open no more.

        Never raises: what cannot be forgotten now is the next time.
        """
        ended = [key for key in self._read if not is_open(key)]
        if ended:
            with contextlib.suppress(Problem):
                self._forget(ended)
        until = self._clock.monotonic() - _KEPT_SECONDS
        for key in [key for key, one in self._read.items() if one.asked_at <= until]:
            if key not in ended:
                del self._read[key]

    async def keys(self) -> tuple[str, ...]:
        """Whose vaults there are, whoever made them. Raises Problem PC7050."""
        with _usable():
            return tuple(key for (key,) in self._file.read("SELECT key FROM vault"))

    async def forget(self, keys: Collection[str]) -> None:
        """Forget vaults, in the file and its log. Raises Problem PC7050: then try it again."""
        self._forget(keys)

    def _forget(self, keys: Collection[str]) -> None:
        found = []
        with _usable(), self._file.write() as run:
            for key in keys:
                found += run("SELECT id FROM vault WHERE key = ?", (key,)).fetchall()
            for (id_,) in found:
                self._drop(run, id_)
        for key in keys:
            self._read.pop(key, None)
        if found:
            self._file.empty_log()

    def close(self) -> None:
        """Use it no more."""
        self._file.close()

    def _refresh(self, vault: SharedVault, read: _Read) -> None:
        """Read what is new in a vault since it was read last."""
        rows = read(_NEWS, (vault.seen, vault.key))
        if not rows:
            vault.gone()
            return
        if rows[0][0] != vault.id and vault.seen:  # another vault of this key: all of it
            rows = read(_NEWS, (0, vault.key))
        vault.state(*rows[0][:4])
        for *_, number, sealed in rows:
            if number is not None:
                vault.adopt(number, *unseal(self._cipher, vault, number, sealed))

    def _make(self, run: Run, vault: SharedVault) -> None:
        """A vault gives no number that an earlier one of its key may have given."""
        complete = run("SELECT complete_since FROM vaults", ()).fetchone()[0]
        lasted = 0.0 if vault.since >= complete else max(self._clock.now() - vault.since, 0)
        given, now = int(lasted * 1e6), self._clock.monotonic()
        made = run(
            "INSERT INTO vault (key, given, size, used_at) VALUES (?, ?, 0, ?) RETURNING id",
            (vault.key, given, now),
        )
        vault.state(made.fetchone()[0], given, 0, now)
        run("UPDATE vaults SET vaults = vaults + 1", ())

    def _make_room(self, run: Run, mine: SharedVault) -> None:
        """The vaults that were used longest ago go until there is room for all others."""
        while True:
            vaults, size = run("SELECT vaults, size FROM vaults", ()).fetchone()
            if vaults <= 1 or (vaults <= self._most and size <= self._size):
                return
            query = "SELECT id FROM vault WHERE id <> ? ORDER BY used_at LIMIT 1"
            self._evict(run, run(query, (mine.id,)).fetchone()[0])

    def _evict(self, run: Run, id_: int) -> None:
        """Drop a vault whose key may come again."""
        self._drop(run, id_)
        complete = math.nextafter(self._clock.now(), math.inf)
        run("UPDATE vaults SET complete_since = ?", (complete,))

    @staticmethod
    def _drop(run: Run, id_: int) -> None:
        gone = run("DELETE FROM vault WHERE id = ? RETURNING size", (id_,)).fetchall()
        run("DELETE FROM hidden WHERE vault = ?", (id_,))
        for (size,) in gone:
            run("UPDATE vaults SET vaults = vaults - 1, size = size - ?", (size,))


def seal(cipher: AESGCM, vault: SharedVault, number: int, said: tuple[str, str, str]) -> bytes:
    """Entity, placeholder and value, for this row alone."""
    nonce = os.urandom(_NONCE)
    plain = "\0".join(said).encode("utf-8", "surrogatepass")
    return nonce + cipher.encrypt(nonce, plain, _bound(vault, number))


def unseal(cipher: AESGCM, vault: SharedVault, number: int, sealed: bytes) -> list[str]:
    """Entity, placeholder and value of a row. Raises InvalidTag."""
    plain = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(vault, number))
    return plain.decode("utf-8", "surrogatepass").split("\0", 2)


def _bound(vault: SharedVault, number: int) -> bytes:
    return f"{vault.id}:{number}:{vault.key}".encode()


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, InvalidTag) as error:
        log.error("vaults_failed", error=type(error).__name__)  # noqa: TRY400 - it says enough
        raise Problem("PC7050", "the session's placeholders cannot be read or written") from None
