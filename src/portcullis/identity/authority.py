"""The trust domain's authority: issues SVIDs, keeps its keys in rotation, publishes the bundle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from portcullis.config.identity import Identity
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Sealer
from portcullis.identity.authority_files import Files, Kind, State
from portcullis.identity.in_force import InForce, digest, in_force, known_state, root_keys
from portcullis.identity.issuing import Issuing
from portcullis.identity.rotation import Change, due, resealed

log = structlog.get_logger(__name__)

_STEPS: Final = 8
"""More steps than the clock can ask for at once, even after years without a run."""
_WARN_SECONDS: Final = 3600
_LOOK_SECONDS: Final = 30.0


class Authority(Issuing):
    """The authority, for any threads. One process per state directory changes it.

    All that changes keys (``rotate``, ``retire``, ``maintain``, ``forget_root_keys``) writes files,
    calls the sealer and blocks: keep it off the loop.
    """

    def __init__(
        self,
        files: Files,
        trust_domain: str,
        settings: Identity,
        sealer: Sealer,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.trust_domain = trust_domain
        self._files = files
        self._settings = settings
        self._sealer = sealer
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.Lock()
        self._warned = 0.0
        with files.exclusive():
            raw = files.raw_state()
            if raw is None:
                state = self._begun()
            else:
                state = known_state(raw, trust_domain)
                files.tidy(state)
                resealed(files, state, sealer)
            if not state.keys:
                self._commit(self._founding(state))
            super().__init__(self._load(), trust_domain, settings, clock, new_id)

    def rotate(self, what: Kind, *, root_key: bytes | None = None) -> None:
        """Put a new key in force now. The old one stays in the bundle while it is needed.

        ``root_key`` is the active root's sealed key file, for ``signing`` while it is offline.
        Raises Problem PC7008 when the root's key is needed and not there.
        """
        needed = root_key if what == "signing" else None
        self._change(lambda change: change.rotate(what), needed)

    def retire(self, what: Literal["root", "jwt"]) -> None:
        """Trust the old keys no longer, at once: all that they signed is worthless (compromise).

        Raises Problem PC7008 when there is no old key: rotate first.
        """
        self._change(lambda change: change.retire(what))

    def maintain(self) -> bool:
        """Do what is due by the clock; True when something changed.

        A signing authority whose root key is offline is not renewed, and that is logged.
        """
        now = self._clock.now()
        changed = False
        for _ in range(_STEPS):
            steps = [step for step in due(self._in_force.state, now) if self._possible(step, now)]
            if not steps:
                break
            self._change(lambda change, step=steps[0]: change.do(step))  # type: ignore[misc]
            changed = True
        return changed

    async def run(self) -> None:
        """``maintain`` from time to time until cancelled; a failure is logged and tried again."""
        pause = min(_LOOK_SECONDS, self._settings.signing_ttl_seconds / 60)
        while True:
            try:
                await asyncio.to_thread(self.maintain)
            except Problem as problem:
                log.warning("authority_not_maintained", code=problem.code, detail=problem.detail)
            await asyncio.sleep(pause)

    def forget_root_keys(self, digests: Mapping[str, str]) -> None:
        """Remove the sealed root keys of which somebody has a copy: file names and SHA-256 (hex).

        Raises Problem PC7008, and removes nothing, when one of them is not what lies here.
        """
        with self._lock, self._files.exclusive():
            here = root_keys(self._files, self._in_force.state)
            if not digests or dict(digests) != {name: digest(each) for name, each in here.items()}:
                raise Problem("PC7008", "these are not the root keys that are online")
            for name in here:
                self._files.remove(name)

    def reseal(self) -> int:
        """Seal the keys again that are not under the newest key-encryption key; how many."""
        with self._lock, self._files.exclusive():
            return resealed(self._files, self._in_force.state, self._sealer)

    def _change(self, work: Callable[[Change], None], root_key: bytes | None = None) -> None:
        with self._lock, self._files.exclusive():
            if self._files.raw_state() != self._in_force.raw:  # an earlier end went wrong
                self._in_force = self._load()
            change = self._begin(self._in_force.state, root_key)
            work(change)
            self._commit(change.state)
            self._in_force = self._load()
        state = self._in_force.state
        log.info("authority_changed", sequence=state.sequence, keys=len(state.keys))
        self._tell()
        with self._lock, self._files.exclusive():
            self._files.tidy(state)

    def _begin(self, state: State, root_key: bytes | None = None) -> Change:
        return Change(
            self._files,
            state,
            sealer=self._sealer,
            settings=self._settings,
            now=self._clock.now(),
            new_id=self._new_id,
            root_key=root_key,
        )

    def _commit(self, state: State) -> None:
        self._files.put_state(msgspec.structs.replace(state, sequence=state.sequence + 1))

    def _begun(self) -> State:
        """Say that a trust domain is being founded, so that nobody takes a loss for a beginning."""
        if self._files.any():
            raise Problem(
                "PC7008",
                "the authority has keys, but its state.json is missing",
                hint="Restore state/ca from a backup; a new one would be trusted by nobody.",
            )
        state = State(trust_domain=self.trust_domain, sequence=0, keys=())
        self._files.put_state(state)
        return state

    def _founding(self, state: State) -> State:
        """The first keys of a new trust domain."""
        change = self._begin(state)
        change.rotate("root")
        change.rotate("jwt")
        return change.state

    def _load(self) -> InForce:
        ttl = self._settings.svid_ttl_seconds
        return in_force(self._files, self.trust_domain, self._sealer, ttl)

    def _possible(self, step: str, now: float) -> bool:
        root = self._in_force.state.active("root")
        if step != "renew signing" or self._files.has(f"{root.name}.key"):
            return True
        if now - self._warned >= _WARN_SECONDS:
            self._warned = now
            log.warning("signing_authority_not_renewed", root_key="offline", code="PC7008")
        return False


def open_authority(
    directory: Path,
    *,
    trust_domain: str,
    settings: Identity,
    sealer: Sealer,
    clock: Clock,
    new_id: Callable[[], str],
) -> Authority:
    """The authority whose files lie in ``directory`` (``ca`` below the state), made when missing.

    ``new_id`` gives 32 hex digits, the first 12 the time in milliseconds: they become serial
    numbers. Raises Problem PC7001 (files), PC7008 (what is in them), PC7010 (sealed otherwise).
    """
    return Authority(Files(directory), trust_domain, settings, sealer, clock, new_id)
