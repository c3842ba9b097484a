"""The trust domain's authority as the processes see it that do not change it.

The one that does writes new keys first and names them last; a follower reads them under the same
lock, so that it sees a change whole or not at all. It writes nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from portcullis.config.identity import Identity
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Sealer
from portcullis.identity.authority_files import Files
from portcullis.identity.bundle import Bundle
from portcullis.identity.in_force import in_force
from portcullis.identity.issuing import Issuing

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.1
DOUBT_SECONDS: Final = 5.0
"""So long the files may be unreadable before nobody is trusted by what was in them."""


class Following(Issuing):
    """Issues under the keys that are in force, as another process changes them. For any threads.

    ``run`` looks for changes. When it could not for ``DOUBT_SECONDS``, a key may have been retired
    unseen: then the bundle is empty until it can again, so that no certificate is trusted. So it
    is while the files are ``doubted``, which are copies where the control plane is elsewhere.
    """

    def __init__(
        self,
        files: Files,
        trust_domain: str,
        settings: Identity,
        sealer: Sealer,
        clock: Clock,
        new_id: Callable[[], str],
        doubted: Callable[[], bool] = lambda: False,
    ) -> None:
        if not files.directory.is_dir() or files.raw_state() is None:
            raise Problem("PC7008", "there is no authority yet", hint="Start the control plane.")
        with files.exclusive():
            found = in_force(files, trust_domain, sealer, settings.svid_ttl_seconds)
        super().__init__(found, trust_domain, settings, clock, new_id)
        self._files = files
        self._sealer = sealer
        self._lock = threading.Lock()
        self._doubted = doubted
        self._seen = clock.monotonic()
        self._nobody: Bundle | None = None

    def bundle(self) -> Bundle:
        """Our bundle, the same object until it changes; without any key while in doubt."""
        return super().bundle() if self._nobody is None else self._nobody

    def look(self) -> bool:
        """Take over what changed; True when something did. Blocks.

        Raises the Problems of ``in_force``; what was in force stays then, for a while.
        """
        with self._lock:
            try:
                changed = self._read()
            except Problem:
                if self._clock.monotonic() - self._seen > DOUBT_SECONDS and self._nobody is None:
                    self._nobody = msgspec.structs.replace(super().bundle(), x509=(), jwt={})
                    log.exception("authority_in_doubt")
                    self._tell()
                raise
        if changed:
            log.info("authority_followed", sequence=self.state().sequence)
            self._tell()
        return changed

    async def run(self, seconds: float = LOOK_SECONDS) -> None:
        """``look`` for ever; a failure is logged once and tried again."""
        said = ""
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.to_thread(self.look)
                said = ""
            except Problem as problem:
                if problem.detail != said:
                    said = problem.detail
                    log.warning("authority_not_read", code=problem.code, detail=said)

    def _read(self) -> bool:
        if self._doubted():
            raise Problem("PC7008", "the files were not compared with the control plane's")
        raw = self._files.raw_state()
        changed = raw != self._in_force.raw
        if changed:
            with self._files.exclusive():
                ttl = self._settings.svid_ttl_seconds
                self._in_force = in_force(self._files, self.trust_domain, self._sealer, ttl)
        self._seen = self._clock.monotonic()
        changed = changed or self._nobody is not None
        self._nobody = None
        return changed


def follow_authority(
    directory: Path,
    *,
    trust_domain: str,
    settings: Identity,
    sealer: Sealer,
    clock: Clock,
    new_id: Callable[[], str],
    doubted: Callable[[], bool] = lambda: False,
) -> Following:
    """The authority whose files lie in ``directory``, which another process keeps.

    Arguments and Problems are those of ``open_authority``; PC7008 also when there is none yet.
    """
    return Following(Files(directory), trust_domain, settings, sealer, clock, new_id, doubted)
