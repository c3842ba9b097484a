"""What a gateway keeps of the feed on disk, so that one that starts again need not wait.

The file is worth nothing after its lease or another boot, so it is written without waiting for the
disk: a machine that crashed has another boot. It never lacks what the gateway has said that it
acts on: it is taken away before that is said, and written anew afterwards. While it lacks
something that was not yet said, the publisher counts the gateway as one that did not answer, which
refuses everything once the lease is over: and so does one that starts with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Final

import structlog
from msgspec import structs

from portcullis.core import formats
from portcullis.core.errors import Problem
from portcullis.core.fanout import MAX_FRAME
from portcullis.core.feed import LastSnapshot, Standing
from portcullis.core.ports import Clock
from portcullis.identity.private import read_private
from portcullis.store.killfeed_frames import ForgedError, Frames

WORTH_SECONDS: Final = 5.0
"""The shortest lease with which it is kept: with a shorter one, no start is in time for it."""

_PARTS: Final = 8
"""How many times in a lease it is written: so much of the lease may be lost."""

log = structlog.get_logger(__name__)


class KeptSnapshot:
    """The file of one gateway. ``boot`` names the boot of the machine, and the clock's namespace.

    ``say`` is told of a file that is there and cannot be used: a code and why. Call ``keep`` and
    ``forget`` on the loop; disks may be slow, so the work is done on a thread of its own.
    """

    def __init__(
        self,
        path: Path,
        frames: Frames,
        clock: Clock,
        *,
        gateway: str,
        boot: str,
        lease_seconds: float,
        say: Callable[[str, str], None],
    ) -> None:
        self._path = path
        self._frames = frames
        self._clock = clock
        self._gateway = gateway
        self._boot = boot
        self._lease = lease_seconds
        self._say = say
        self._thread = ThreadPoolExecutor(1, "feed-kept")
        self._renaming = Lock()
        self._number = 0
        self._again = 0.0
        self._failed = False

    def load(self) -> LastSnapshot | None:
        """The one that is good now; what is not is taken away. Blocks.

        Of one that was good for less time than now it is said that it is older, as it counts.
        """
        try:
            content = read_private(self._path, MAX_FRAME)
            found = None if content is None else self._frames.kept(content)
        except ForgedError:
            self._refuse("somebody changed it, or it is another deployment's")
            return None
        except Problem as problem:
            self._refuse(problem.detail)
            return None
        if found is None:
            return None
        now = self._clock.monotonic()
        heard = found.heard - max(0.0, self._lease - found.lease)
        if not formats.readable(found.format, formats.FORMAT):
            self._refuse(f"it is of format {found.format}", formats.STRANGE)
        elif found.gateway != self._gateway:
            self._refuse("it is another gateway's")
        elif found.boot != self._boot:
            self._over("another boot")
        elif found.heard > now:
            self._refuse("it is from the future")
        elif heard + self._lease <= now:
            self._over("the lease")
        else:
            return structs.replace(found, heard=heard)
        return None

    def keep(
        self,
        heard: float,
        epoch: str,
        sequence: int,
        at: float,
        standings: Callable[[], tuple[Standing, ...]],
    ) -> None:
        """Write what is known now (``core.feed.LastSnapshot``), unless that was done lately."""
        now = self._clock.monotonic()
        if now < self._again:
            return
        self._again = now + self._lease / _PARTS
        snapshot = LastSnapshot(
            *(self._gateway, self._boot, min(heard, now), self._lease),
            *(epoch, sequence, at, standings()),
            format=formats.FORMAT,
        )
        self._thread.submit(self._write, snapshot, self._number)

    async def forget(self) -> None:
        """Take it away, until it is kept anew. Raises OSError: then it may still be there."""
        self._number += 1
        self._again = 0.0
        await asyncio.get_running_loop().run_in_executor(self._thread, self._unlink)

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()

    def _write(self, snapshot: LastSnapshot, number: int) -> None:
        draft = self._path.with_name(self._path.name + ".new")
        try:
            draft.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(self._frames.keep(snapshot))
            with self._renaming:
                if number == self._number:
                    draft.replace(self._path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("feed_snapshot_not_kept", fault=error.strerror)
            self._failed = True

    def _unlink(self) -> None:
        with self._renaming:
            self._path.unlink(missing_ok=True)

    def _refuse(self, why: str, code: str = "PC4007") -> None:
        log.warning("feed_snapshot_refused", code=code, reason=why)
        self._say(code, why)
        self._gone()

    def _over(self, why: str) -> None:
        log.info("feed_snapshot_over", reason=why)
        self._gone()

    def _gone(self) -> None:
        with contextlib.suppress(OSError):
            self._unlink()


def booted() -> str:
    """What tells this boot of the machine, and this clock, from any other."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/time').readlink()}"
