"""The X509-SVIDs that one stream has handed out: kept until half of their life, then replaced."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from portcullis.core.ports import Clock
from portcullis.identity.attest.unix import Process
from portcullis.identity.issuing import Issuing, X509Svid
from portcullis.identity.records import IdentityRecords
from portcullis.identity.workload.identities import Identities, Identity

_TICK: Final = 0.002
"""An SVID knows to the millisecond when it was made: a new one is made after a rotation."""
_MAX_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Held:
    """An SVID with its key (PKCS #8, DER), and the authorities when it was issued."""

    svid: X509Svid
    key: bytes
    authorities: frozenset[bytes]

    @property
    def renewal(self) -> float:
        """Half of its life."""
        return self.svid.issued_at + (self.svid.expires_at - self.svid.issued_at) / 2


class Svids:
    """Those of one stream. Each is recorded, durably, before it is returned for the first time."""

    def __init__(
        self,
        authority: Issuing,
        identities: Identities,
        records: IdentityRecords,
        clock: Clock,
        workers: Executor,
    ) -> None:
        self._authority = authority
        self._identities = identities
        self._records = records
        self._clock = clock
        self._workers = workers
        self._held: dict[str, Held] = {}

    async def of(self, caller: Process, identities: tuple[Identity, ...]) -> tuple[Held, ...]:
        """One for each identity, new where it is time, its principal was rotated, or it was cut.

        Raises Problem PC7008 (cannot sign) and PC6001 (cannot be recorded).
        """
        held: dict[str, Held] = {}
        for identity in identities:
            name = str(identity.id)
            old = self._held.get(name)
            good = old is not None and self._good(identity, old)
            held[name] = old if good and old else await self._issued(caller, identity, old)
        self._held = held
        return tuple(held.values())

    def renewal(self) -> float:
        """When the first of them is due, in seconds since the epoch."""
        return min(held.renewal for held in self._held.values())

    def _good(self, identity: Identity, held: Held) -> bool:
        svid = held.svid
        return (
            self._clock.now() < held.renewal
            and held.authorities.issubset(self._authority.bundle().x509)
            and not self._identities.outdated(
                identity, f"svid:{svid.serial}", svid.issued_at, svid.expires_at
            )
        )

    async def _issued(self, caller: Process, identity: Identity, old: Held | None) -> Held:
        pause = max(identity.record.rotated_at - self._clock.now(), 0.0) + _TICK
        if old is not None or identity.record.rotated_at:
            await asyncio.sleep(min(pause, _MAX_PAUSE))
        held = await asyncio.get_running_loop().run_in_executor(self._workers, self._sign, identity)
        parameters: dict[str, Any] = {
            "spiffe_id": str(identity.id),
            "serial": held.svid.serial,
            "thumbprint": held.svid.thumbprint,
            "expires_at": held.svid.expires_at,
            "entry": identity.entry.id,
            "selectors": list(identity.entry.selectors),
        }
        if old is not None:
            parameters["replaces"] = old.svid.serial
        await self._records.done(
            "svid.issue" if old is None else "svid.renew",
            kind=identity.record.kind.value,
            principal=identity.record.id,
            credential=f"svid:{held.svid.serial}",
            source=caller.source,
            parameters=parameters,
        )
        return held

    def _sign(self, identity: Identity) -> Held:
        key = ec.generate_private_key(ec.SECP256R1())
        authorities = frozenset(self._authority.bundle().x509)
        svid = self._authority.issue(
            identity.id,
            key.public_key(),
            ttl=identity.entry.ttl_seconds or None,
            not_after=identity.record.review_at or None,
        )
        return Held(
            svid, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), authorities
        )
