"""The trust domain's authority: issues SVIDs, keeps its keys in rotation, publishes the bundle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog

from portcullis.config.identity import Identity
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Sealer
from portcullis.core.spiffe import SpiffeId, parse
from portcullis.identity.authority_files import Files, Kind, State
from portcullis.identity.bundle import Bundle
from portcullis.identity.in_force import InForce, digest, in_force, known_state, root_keys
from portcullis.identity.jwt_signing import JwtSvid
from portcullis.identity.rotation import (
    MAX_JWT_SECONDS,
    MAX_SVID_SECONDS,
    Change,
    due,
    resealed,
)
from portcullis.identity.svid import thumbprint
from portcullis.identity.x509 import acceptable, made_at, serial_text

log = structlog.get_logger(__name__)

_STEPS: Final = 8
"""More steps than the clock can ask for at once, even after years without a run."""
_WARN_SECONDS: Final = 3600
_LOOK_SECONDS: Final = 30.0


class X509Svid(msgspec.Struct, frozen=True, kw_only=True):
    """An issued certificate: ``chain`` is DER, the leaf and the signing authority, no root.

    ``serial`` is hex, ``thumbprint`` is the leaf's ``x5t#S256``, times are seconds since the epoch.
    """

    id: SpiffeId
    chain: tuple[bytes, ...]
    serial: str
    thumbprint: str
    issued_at: float
    expires_at: float


class Authority:
    """The authority, for any threads. One process per state directory changes it.

    ``issue`` and ``sign_jwt`` cost a fraction of a millisecond and touch no file; all that
    changes keys (``rotate``, ``retire``, ``maintain``, ``forget_root_keys``) writes files, calls
    the sealer and blocks: keep it off the loop.
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
        self.trust_domain: Final = trust_domain
        self._files = files
        self._settings = settings
        self._sealer = sealer
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.Lock()
        self._subscribers: list[Callable[[], None]] = []
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
            self._in_force = self._load()

    def issue(
        self,
        id: SpiffeId,  # noqa: A002 - the field's name
        public_key: Any,
        *,
        ttl: float | None = None,
        not_after: float | None = None,
        names: Sequence[str] = (),
    ) -> X509Svid:
        """Sign an X509-SVID for the holder of ``public_key``.

        It lives ``ttl`` seconds (the configured time by default), 72 hours at most, and ends at
        ``not_after`` or with the signing authority if that is sooner. ``names`` are DNS names
        and addresses. Raises Problem PC2024 (no workload's SPIFFE ID), PC2063 (a key that is not
        accepted), PC7008 (another trust domain; nothing that could sign is valid).
        """
        if parse(str(id)).trust_domain != self.trust_domain:
            raise Problem("PC7008", "the SPIFFE ID is of another trust domain")
        now, signs, serial = self._clock.now(), self._in_force, int(self._new_id(), 16)
        lifetime = min(self._settings.svid_ttl_seconds if ttl is None else ttl, MAX_SVID_SECONDS)
        latest = signs.leaves_until if not_after is None else not_after
        ends = int(min(now + lifetime, signs.leaves_until, latest))
        if ends <= now:
            raise self._too_late(signs, now)
        if now < signs.leaves.begins:
            raise Problem(
                "PC7008",
                "the signing authority is not valid yet: the clock went back",
                hint="Set the clock right, or run `portcullis ca rotate root`.",
            )
        leaf = signs.leaves.sign(
            id,
            acceptable(public_key),
            serial=serial,
            not_before=now,
            not_after=ends,
            names=names,
        )
        text = serial_text(serial)
        return X509Svid(
            id=id,
            chain=(leaf, signs.leaves.der),
            serial=text,
            thumbprint=thumbprint(leaf),
            issued_at=made_at(text),
            expires_at=float(ends),
        )

    def sign_jwt(
        self,
        id: SpiffeId,  # noqa: A002 - the field's name
        audience: Sequence[str],
        *,
        ttl: float | None = None,
    ) -> JwtSvid:
        """Sign a JWT-SVID for ``audience``, an hour at most.

        Raises Problem PC2024, PC2032 (no audience), PC7008 (another trust domain).
        """
        if parse(str(id)).trust_domain != self.trust_domain:
            raise Problem("PC7008", "the SPIFFE ID is of another trust domain")
        lifetime = min(self._settings.jwt_svid_ttl_seconds if ttl is None else ttl, MAX_JWT_SECONDS)
        return self._in_force.tokens.sign(
            id, audience, now=self._clock.now(), ttl=lifetime, credential=self._new_id()
        )

    def bundle(self) -> Bundle:
        """Our bundle: the same object until it changes."""
        return self._in_force.bundle

    def state(self) -> State:
        """Which keys there are, and when what becomes of them."""
        return self._in_force.state

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

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after every change, in the thread that made it."""
        self._subscribers.append(changed)

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
        for changed in tuple(self._subscribers):
            changed()
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

    def _too_late(self, signs: InForce, now: float) -> Problem:
        if signs.leaves_until <= now + 1:
            return Problem(
                "PC7008",
                "the signing authority has expired and was not renewed in time",
                hint="Run `portcullis ca rotate signing`, with --root-key when it is offline.",
            )
        return Problem("PC7008", "the certificate would end before it begins")


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
