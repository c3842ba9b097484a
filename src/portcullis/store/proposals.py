"""What models proposed, at whichever gateway: tags of it only, for as long as any gateway runs."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, Protocol

from portcullis.core.errors import Problem
from portcullis.core.principal import Proposal
from portcullis.store.volatile import Volatile

MOST: Final = 262_144
"""How many in all; the oldest go first."""
_SCHEMA: Final = """
CREATE TABLE proposal (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, tag BLOB NOT NULL,
    event TEXT NOT NULL
);
CREATE INDEX proposal_key ON proposal (key, tag, number);
"""


class Proposals(Protocol):
    """What models proposed, at whichever gateway. Each raises Problem PC7050."""

    async def add(self, key: str, proposals: Sequence[Proposal]) -> None: ...  # noqa: D102
    async def take(  # noqa: D102
        self, key: str, names: Collection[str], digest: str
    ) -> str | None: ...
    async def forget(self, key: str) -> None: ...  # noqa: D102


class SharedProposals:
    """The proposals of all gateways that open the same file with the same ``key`` of 32 bytes.

    Of a call there is its tag, a keyed hash of name and digest, and the event of the model's turn.
    All methods raise Problem PC7050.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self._key = key
        self._file = Volatile(path, _SCHEMA)

    async def add(self, key: str, proposals: Sequence[Proposal]) -> None:
        """Remember what a model proposed under ``key``."""
        number = 0
        try:
            with self._file.write() as run:
                for one in proposals:
                    row = (key, tag(self._key, one.name, one.digest), one.event)
                    last = run("INSERT INTO proposal (key, tag, event) VALUES (?, ?, ?)", row)
                    number = last.lastrowid or 0
                run("DELETE FROM proposal WHERE number <= ?", (number - MOST,))
        except sqlite3.Error:
            raise _unusable() from None

    async def take(self, key: str, names: Collection[str], digest: str) -> str | None:
        """The event of the oldest proposal of this call under ``key``, which is consumed."""
        tags = [tag(self._key, name, digest) for name in names]
        places = ",".join("?" * len(tags))
        query = f"SELECT min(number) FROM proposal WHERE key = ? AND tag IN ({places})"  # noqa: S608
        try:
            ((oldest,),) = self._file.read(query, (key, *tags))
            if oldest is None:
                return None
            with self._file.write() as run:
                gone = run("DELETE FROM proposal WHERE number = ? RETURNING event", (oldest,))
                return next((event for (event,) in gone.fetchall()), None)
        except sqlite3.Error:
            raise _unusable() from None

    async def forget(self, key: str) -> None:
        """Remember nothing under ``key`` any more."""
        try:
            with self._file.write() as run:
                run("DELETE FROM proposal WHERE key = ?", (key,))
        except sqlite3.Error:
            raise _unusable() from None

    def close(self) -> None:
        """Use it no more."""
        self._file.close()


def tag(key: bytes, name: str, digest: str) -> bytes:
    """What stands for a call: 32 bytes, of which only who has the key can make any.

    Keyed BLAKE2b (RFC 7693) takes a quarter of HMAC's time, and each call has several names.
    """
    said = f"{name}\0{digest}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(said, key=key, digest_size=32).digest()


def _unusable() -> Problem:
    return Problem("PC7050", "what models proposed cannot be read or written")
