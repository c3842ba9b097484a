"""Signing under a trust domain's keys: X509-SVIDs, JWT-SVIDs, and the bundle beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from portcullis.config.identity import Identity
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.spiffe import SpiffeId, parse
from portcullis.identity.authority_files import State
from portcullis.identity.bundle import Bundle
from portcullis.identity.in_force import InForce
from portcullis.identity.jwt_signing import JwtSvid
from portcullis.identity.rotation import MAX_JWT_SECONDS, MAX_SVID_SECONDS
from portcullis.identity.svid import thumbprint
from portcullis.identity.x509 import acceptable, made_at, serial_text


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


class Issuing:
    """What issues, by the keys that are in force; whoever has it keeps those current.

    ``issue`` and ``sign_jwt`` cost a fraction of a millisecond and touch no file. For any threads.
    """

    def __init__(
        self,
        in_force: InForce,
        trust_domain: str,
        settings: Identity,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.trust_domain = trust_domain
        self._in_force = in_force
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._subscribers: list[Callable[[], None]] = []

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

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after every change, in the thread that made it."""
        self._subscribers.append(changed)

    def _tell(self) -> None:
        for changed in tuple(self._subscribers):
            changed()

    def _too_late(self, signs: InForce, now: float) -> Problem:
        if signs.leaves_until <= now + 1:
            return Problem(
                "PC7008",
                "the signing authority has expired and was not renewed in time",
                hint="Run `portcullis ca rotate signing`, with --root-key when it is offline.",
            )
        return Problem("PC7008", "the certificate would end before it begins")
