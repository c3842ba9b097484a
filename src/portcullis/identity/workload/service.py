"""The five methods of the Workload API (SPIFFE_Workload_API.md sections 5 and 6).

Whoever has no identity here is refused, whatever it asks for. Every message of a stream is a full
snapshot, and the caller is looked at again before each.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

from portcullis.config.identity import Identity as Settings
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.spiffe import SCHEME, parse
from portcullis.identity import jwt_svid
from portcullis.identity.attest.unix import Process
from portcullis.identity.authority import Authority
from portcullis.identity.bundle import Bundle, encode_jwt
from portcullis.identity.records import IdentityRecords
from portcullis.identity.trust import Trust
from portcullis.identity.workload.changes import Changes
from portcullis.identity.workload.identities import Identities, Identity
from portcullis.identity.workload.svids import Held, Svids
from portcullis.wire.spiffe.workload_pb2 import (
    JWTSVID,
    X509SVID,
    JWTBundlesRequest,
    JWTBundlesResponse,
    JWTSVIDRequest,
    JWTSVIDResponse,
    ValidateJWTSVIDRequest,
    ValidateJWTSVIDResponse,
    X509BundlesRequest,
    X509BundlesResponse,
    X509SVIDRequest,
    X509SVIDResponse,
)

MAX_AUDIENCES: Final = 16
MAX_AUDIENCE: Final = 512

_LOOK_SECONDS: Final = 60.0
"""How often at least a stream is looked at: clocks may be set, and machines sleep."""
_REST_SECONDS: Final = 0.1
"""How long at least a stream waits between two looks, unless something changed."""

_Message = TypeVar("_Message", X509BundlesResponse, JWTBundlesResponse, X509SVIDResponse)


class Service:
    """The methods; each gets the caller's process. They raise Problems and nothing else.

    PC2060, PC4001: not for this caller. PC4002, PC6001, PC7008: not now. PC1020, PC2024 and, for
    a token that is validated, the range PC2: a wrong argument.
    """

    def __init__(
        self,
        *,
        authority: Authority,
        trust: Trust,
        identities: Identities,
        records: IdentityRecords,
        clock: Clock,
        changes: Changes,
        workers: Executor,
        settings: Settings,
        skew: float,
    ) -> None:
        self._authority = authority
        self._trust = trust
        self._identities = identities
        self._records = records
        self._clock = clock
        self._changes = changes
        self._workers = workers
        self._settings = settings
        self._skew = skew

    async def fetch_x509_svid(
        self, request: X509SVIDRequest, caller: Process
    ) -> AsyncIterator[X509SVIDResponse]:
        """The caller's X509-SVIDs with their keys, our bundle and the federated ones."""
        del request
        svids = Svids(self._authority, self._identities, self._records, self._clock, self._workers)

        async def snapshot(found: tuple[Identity, ...]) -> X509SVIDResponse:
            held = await svids.of(caller, found)
            return _x509_context(held, self._trust.bundles())

        async for message in self._stream(caller, snapshot, svids.renewal):
            yield message

    async def fetch_x509_bundles(
        self, request: X509BundlesRequest, caller: Process
    ) -> AsyncIterator[X509BundlesResponse]:
        """The X.509 authorities of all trust domains."""
        del request

        async def snapshot(found: tuple[Identity, ...]) -> X509BundlesResponse:
            del found
            return X509BundlesResponse(bundles=_x509_bundles(self._trust.bundles()))

        async for message in self._stream(caller, snapshot):
            yield message

    async def fetch_jwt_bundles(
        self, request: JWTBundlesRequest, caller: Process
    ) -> AsyncIterator[JWTBundlesResponse]:
        """The JWT-SVID keys of all trust domains, each as a JWK set."""
        del request

        async def snapshot(found: tuple[Identity, ...]) -> JWTBundlesResponse:
            del found
            bundles = self._trust.bundles()
            return JWTBundlesResponse(
                bundles={f"{SCHEME}{each.trust_domain}": encode_jwt(each) for each in bundles}
            )

        async for message in self._stream(caller, snapshot):
            yield message

    async def fetch_jwt_svid(self, request: JWTSVIDRequest, caller: Process) -> JWTSVIDResponse:
        """A JWT-SVID for each of the caller's identities, or for the one that it names."""
        audience = tuple(request.audience)
        if not 1 <= len(audience) <= MAX_AUDIENCES or not all(
            1 <= len(each) <= MAX_AUDIENCE for each in audience
        ):
            raise Problem("PC1020", "audience: give 1 to 16, of at most 512 characters each")
        wanted = parse(request.spiffe_id) if request.spiffe_id else None
        found = await self._identities.of(caller)
        chosen = tuple(each for each in found if wanted in {None, each.id})
        if not chosen:
            raise Problem("PC2060", "spiffe_id is none of the caller's")
        svids = [await self._jwt_svid(caller, each, audience) for each in chosen]
        self._identities.standing(caller, chosen)
        return JWTSVIDResponse(svids=svids)

    async def validate_jwt_svid(
        self, request: ValidateJWTSVIDRequest, caller: Process
    ) -> ValidateJWTSVIDResponse:
        """Whose a JWT-SVID is, ours or a federated domain's, and what it claims."""
        if not request.audience or not request.svid:
            raise Problem("PC1020", "audience and svid are required")
        await self._identities.of(caller)
        subject = jwt_svid.verify(
            request.svid,
            audience=request.audience,
            trust=self._trust,
            now=self._clock.now(),
            skew=self._skew,
        )
        answer = ValidateJWTSVIDResponse(spiffe_id=str(subject.id))
        answer.claims.update(subject.claims)
        return answer

    async def _jwt_svid(
        self, caller: Process, identity: Identity, audience: tuple[str, ...]
    ) -> JWTSVID:
        record, now = identity.record, self._clock.now()
        longest = min(
            self._settings.jwt_svid_ttl_seconds,
            identity.entry.ttl_seconds or self._settings.jwt_svid_ttl_seconds,
            record.review_at - now if record.review_at else self._settings.jwt_svid_ttl_seconds,
        )
        svid = await asyncio.get_running_loop().run_in_executor(
            self._workers,
            lambda: self._authority.sign_jwt(identity.id, audience, ttl=longest),
        )
        await self._records.done(
            "jwt_svid.issue",
            kind=record.kind.value,
            principal=record.id,
            credential=svid.credential,
            source=caller.source,
            parameters={
                "spiffe_id": str(identity.id),
                "audience": list(audience),
                "expires_at": svid.expires_at,
                "entry": identity.entry.id,
                "selectors": list(identity.entry.selectors),
            },
        )
        return JWTSVID(spiffe_id=str(identity.id), svid=svid.token)

    async def _stream(
        self,
        caller: Process,
        snapshot: Callable[[tuple[Identity, ...]], Awaitable[_Message]],
        renewal: Callable[[], float] = lambda: float("inf"),
    ) -> AsyncIterator[_Message]:
        """A snapshot now, and whenever it has become another one.

        The caller is looked at after every change, at ``renewal`` (seconds since the epoch) and
        at least once a minute; the stream ends with the Problem that is found.
        """
        last: _Message | None = None
        while True:
            change = self._changes.next()
            found = await self._identities.of(caller)
            message = await snapshot(found)
            self._identities.standing(caller, found)
            if message != last:
                yield message
                last = message
            pause = min(renewal() - self._clock.now(), _LOOK_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(pause, _REST_SECONDS)):
                    await change.wait()


def _x509_context(held: tuple[Held, ...], bundles: tuple[Bundle, ...]) -> X509SVIDResponse:
    own = b"".join(bundles[0].x509)
    return X509SVIDResponse(
        svids=[
            X509SVID(
                spiffe_id=str(each.svid.id),
                x509_svid=b"".join(each.svid.chain),
                x509_svid_key=each.key,
                bundle=own,
            )
            for each in held
        ],
        federated_bundles=_x509_bundles(bundles[1:]),
    )


def _x509_bundles(bundles: tuple[Bundle, ...]) -> dict[str, bytes]:
    return {f"{SCHEME}{each.trust_domain}": b"".join(each.x509) for each in bundles if each.x509}
