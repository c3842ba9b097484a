"""Where other issuers' keys come from: a file that is read again when it changed, or an address."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from portcullis.audit.files import read
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.execution.fetch import Fetcher
from portcullis.execution.tls import Tls
from portcullis.identity.keyset import (
    MAX_DOCUMENT,
    KeySet,
    KeySource,
    KeysUnavailableError,
    parse,
)

FRESH_SECONDS: Final = 600.0
"""How long a fetched set is used without asking again: keys that were withdrawn go this soon."""
PAUSE_SECONDS: Final = 60.0
"""The least time between two requests to one issuer, whatever comes in."""
STALE_SECONDS: Final = 86_400.0
"""How long the last set is used while the issuer cannot be reached."""


class FileKeys:
    """A ``KeySource`` over a file. One that cannot be read or understood gives no keys at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: KeySet = {}

    async def keys(self, kid: str | None) -> KeySet:
        """The keys in the file as it is now (a file this small is read on the loop)."""
        del kid
        try:
            status = os.stat(self._path)  # noqa: PTH116 - one call, as cheap as it gets
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._seen = None
                self._keys = parse(read(self._path, MAX_DOCUMENT))
                self._seen = seen
        except OSError as error:
            raise KeysUnavailableError(error.strerror or "the file cannot be read") from None
        except ValueError as error:
            raise KeysUnavailableError(str(error)) from None
        return self._keys


class FetchedKeys:
    """A ``KeySource`` over https.

    The set is asked for again every ``FRESH_SECONDS`` of use, and for a ``kid`` that is not in
    it, at most once in ``PAUSE_SECONDS`` in all. While that fails the last good set goes on for
    ``STALE_SECONDS``.
    """

    def __init__(self, fetcher: Fetcher, clock: Clock) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._asking: asyncio.Task[None] | None = None
        self._keys: KeySet = {}
        self._failure = "they were not fetched yet"
        self._good_at: float | None = None
        self._asked_at: float | None = None

    async def keys(self, kid: str | None) -> KeySet:
        """The newest set known, which may lack ``kid``."""
        now = self._clock.monotonic()
        missing = kid is not None and kid not in self._keys
        if missing or self._good_at is None or now - self._good_at >= FRESH_SECONDS:
            if self._asking is None and (
                self._asked_at is None or now - self._asked_at >= PAUSE_SECONDS
            ):
                self._asked_at = now
                self._asking = asyncio.create_task(self._ask())
            if self._asking is not None:  # a caller that goes away must not end it for others
                await asyncio.shield(self._asking)
        if self._good_at is None or now - self._good_at > STALE_SECONDS:
            raise KeysUnavailableError(self._failure)
        return self._keys

    async def _ask(self) -> None:
        try:
            self._keys = parse(await self._fetcher.get())
        except Problem as problem:
            self._failure = problem.detail
        except ValueError as error:
            self._failure = str(error)
        else:
            self._good_at = self._clock.monotonic()
        finally:
            self._asking = None


def key_source(reference: str, *, tls: Tls, clock: Clock) -> KeySource:
    """The source that ``reference`` names: an https URL, or else a file."""
    if reference.startswith("https://"):
        return FetchedKeys(Fetcher(reference, tls=tls, limit=MAX_DOCUMENT), clock)
    return FileKeys(Path(reference))
