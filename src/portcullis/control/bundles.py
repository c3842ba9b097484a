"""The active release as a signed bundle, for OPA and for other deployments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.release import File, Release
from portcullis.core.release_ports import ReleaseBook

LONGEST: Final = 30.0
"""How long a request may wait for what is new, in seconds, whatever it prefers."""
MOST_WAITING: Final = 64
_LOOK_SECONDS: Final = 0.25


class Bundle(msgspec.Struct, frozen=True):
    """An archive and its ETag (RFC 9110 section 8.8.3)."""

    etag: str
    archive: bytes


class Bundles:
    """Makes a bundle of what is active, once for each release.

    ``built`` makes the archive of a release and blocks. ``close`` ends all waiting.
    """

    def __init__(
        self,
        book: ReleaseBook,
        built: Callable[[Release, tuple[File, ...]], bytes],
        clock: Clock,
    ) -> None:
        self._book = book
        self._built = built
        self._clock = clock
        self._made: tuple[int, Bundle] | None = None
        self._seen: tuple[float, Release | None] = (-1.0, None)
        self._making = asyncio.Lock()
        self._waiting = 0
        self._closed = False

    async def get(self, known: frozenset[str], wait: float) -> Bundle:
        """What is active; where its ETag is ``known``, after up to ``wait`` seconds.

        The archive is empty when it is still known. Raises Problem PC7030 when nothing is active.
        """
        release = await self._active()
        if wait > 0 and etag(release) in known and self._waiting < MOST_WAITING:
            release = await self._waited(release, min(wait, LONGEST))
        if etag(release) in known:
            return Bundle(etag(release), b"")
        return await self._bundle(release)

    async def _waited(self, release: Release, wait: float) -> Release:
        self._waiting += 1
        until = self._clock.monotonic() + wait
        try:
            found = release
            while etag(found) == etag(release) and not self._closed:
                if self._clock.monotonic() >= until:
                    break
                await asyncio.sleep(_LOOK_SECONDS)
                found = await self._active()
            return found
        finally:
            self._waiting -= 1

    async def _active(self) -> Release:
        at, found = self._seen
        now = self._clock.monotonic()
        if found is None or now - at >= _LOOK_SECONDS:
            found = (await asyncio.to_thread(self._book.standing)).active
            self._seen = (now, found)
        if found is None:
            raise Problem("PC7030", "no release of policy is active yet")
        return found

    async def _bundle(self, release: Release) -> Bundle:
        async with self._making:
            if self._made is None or self._made[0] != release.number:
                files = await asyncio.to_thread(self._book.files, release.number)
                archive = await asyncio.to_thread(self._built, release, files)
                self._made = (release.number, Bundle(etag(release), archive))
            return self._made[1]

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed = True


def etag(release: Release) -> str:
    """The ETag of a release."""
    return f'"{release.number}-{release.text}"'
