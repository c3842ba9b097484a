"""The last calls of each session, at whichever gateway: ``oversight.recent.Remembered``, shared."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path
from typing import Final

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portcullis.core.approval import Step
from portcullis.oversight.recent import STEPS
from portcullis.store.volatile import Volatile

log = structlog.get_logger(__name__)

MOST: Final = 131_072
"""Steps of all sessions; the oldest go first."""
_OFTEN: Final = 16
"""After so many steps, what is too old is taken out: every call adds one."""
_NONCE: Final = 12
_SCHEMA: Final = """
CREATE TABLE step (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, acts INTEGER NOT NULL,
    sealed BLOB NOT NULL
);
CREATE INDEX step_key ON step (key, acts, number);
"""
_LAST: Final = """
SELECT sealed FROM step WHERE key = ? AND acts = ? ORDER BY number DESC LIMIT ?
"""
_OLD: Final = """
DELETE FROM step WHERE key = ? AND acts = ? AND number <= (
    SELECT number FROM step WHERE key = ? AND acts = ? ORDER BY number DESC LIMIT 1 OFFSET ?
)
"""
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Step).decode


class SharedRecent:
    """The steps of all gateways that open the same file with the same ``key`` of 32 bytes, sealed.

    Steps of one turn of the event loop are written together, at its end: before what was decided
    can have an answer. What cannot be written or read is left out, and logged: the approver then
    sees fewer calls.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._file = Volatile(path, _SCHEMA)
        self._new: list[tuple[str, bool, bytes]] = []

    def add(self, key: str, step: Step, *, acts: bool) -> None:
        """See Remembered."""
        if not self._new:
            asyncio.get_running_loop().call_soon(self._write)
        self._new.append((key, acts, seal(self._cipher, key, step)))

    def _write(self) -> None:
        new, self._new = self._new, []
        if not new:
            return
        try:
            with self._file.write() as run:
                for key, acts, sealed in new:
                    row = (key, acts, sealed)
                    last = run("INSERT INTO step (key, acts, sealed) VALUES (?, ?, ?)", row)
                    if not (number := last.lastrowid or 0) % _OFTEN:
                        run(_OLD, (key, acts, key, acts, STEPS))
                        run("DELETE FROM step WHERE number <= ?", (number - MOST,))
        except sqlite3.Error as error:
            log.warning("recent_failed", error=type(error).__name__)

    async def of(self, key: str) -> tuple[Step, ...]:
        """See Remembered."""
        self._write()
        try:
            rows = [row for acts in (0, 1) for row in self._file.read(_LAST, (key, acts, STEPS))]
            return tuple(unseal(self._cipher, key, sealed) for (sealed,) in rows)
        except (sqlite3.Error, InvalidTag, msgspec.MsgspecError) as error:
            log.warning("recent_failed", error=type(error).__name__)
            return ()

    def close(self) -> None:
        """Use it no more."""
        self._write()
        self._file.close()


def seal(cipher: AESGCM, key: str, step: Step) -> bytes:
    """A step, for this key alone."""
    nonce = os.urandom(_NONCE)
    return nonce + cipher.encrypt(nonce, _encode(step), key.encode())


def unseal(cipher: AESGCM, key: str, sealed: bytes) -> Step:
    """The step. Raises InvalidTag or MsgspecError."""
    return _decode(cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], key.encode()))
