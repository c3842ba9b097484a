"""``POST /v1/svid``: a certificate for a key, for whoever shows for whom he stands."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Final, Protocol

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from portcullis.control.edge import Edge, source_of
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.control.throttle import Throttle
from portcullis.core.credential import Peer, Presented
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import (
    Authenticator,
    Clock,
    Directory,
    Entry,
    KillFeed,
    Registrations,
)
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.spiffe import ours
from portcullis.identity.attest.selectors import matching
from portcullis.identity.issuing import Issuing, X509Svid
from portcullis.identity.records import IdentityRecords
from portcullis.identity.tokens import fingerprint
from portcullis.wire.certificates import pem
from portcullis.wire.json import encode

WORKLOADS: Final = frozenset({PrincipalKind.AGENT, PrincipalKind.APPLICATION})
"""Who enrols here. People log in, and the gateway has its own SVID from its own authority."""
FREE_FAILURES: Final = 20
LONGEST_WAIT_SECONDS: Final = 60

_MAX_CSR: Final = 8192
_COUNTED: Final = frozenset({"PC2060", "PC2061", "PC2062"})

Selectors = Callable[[str, str], Awaitable[Iterable[str]]]
"""From a cluster's name and a service-account token: selectors. Raises Problem PC2062."""


class SvidRequest(BaseModel):
    """What asks for a certificate: a request (PKCS #10, PEM), and at most one proof.

    Without a proof it is a renewal, on the mutual TLS listener only. Of the request only the key
    counts: subject and extensions are ignored.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    csr: Annotated[str, Field(min_length=1, max_length=_MAX_CSR)]
    join_token: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    kubernetes_token: Annotated[str, Field(min_length=1, max_length=16_384)] | None = None
    cluster: Annotated[str, Field(min_length=1, max_length=63)] | None = None


class SvidIssued(BaseModel):
    """The certificate: ``svid`` is the chain, leaf first, ``bundle`` the authorities, in PEM."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    spiffe_id: str
    svid: str
    bundle: str
    expires_at: float
    serial: str


class Shown(msgspec.Struct, frozen=True):
    """For whom somebody stands, and by what.

    ``principal`` carries the proof: its ``credential``, and as ``issued_at`` when it was good.
    ``once`` is what is used up when a certificate is issued for it: the SHA-256 of a join token.
    """

    principal: Principal
    attestor: str
    once: bytes = b""


class Enrolment:
    """Issues certificates to workloads that are registered and active, each recorded before."""

    def __init__(
        self,
        *,
        authority: Issuing,
        authenticator: Authenticator,
        registrations: Registrations,
        directory: Directory,
        feed: KillFeed,
        records: IdentityRecords,
        clock: Clock,
        selectors: Selectors | None = None,
    ) -> None:
        self._authority = authority
        self._authenticator = authenticator
        self._registrations = registrations
        self._directory = directory
        self._feed = feed
        self._records = records
        self._clock = clock
        self._selectors = selectors
        self._throttle = Throttle(clock, free=FREE_FAILURES, longest=LONGEST_WAIT_SECONDS)

    async def attest(self, body: SvidRequest, host: str) -> Shown:
        """Whose proof it is. A join token is not used up yet.

        Raises Problem PC2064 after too many failures of ``host``, PC2061 (join token), PC2062 or
        PC2060 (service-account token), PC1020 (no proof, or two).
        """
        wait = self._throttle.wait(host)
        if wait:
            raise Problem("PC2064", f"from this address; wait {math.ceil(wait)} s")
        try:
            shown = await self._attest(body)
        except Problem as problem:
            if problem.code in _COUNTED:
                self._throttle.failed(host)
            raise
        self._throttle.clear(host)
        return shown

    def renewing(self, peer: Peer) -> Shown:
        """Who renews a certificate of ours. Raises what the Authenticator raises, and PC2027."""
        if peer.id.trust_domain != self._authority.trust_domain:
            raise Problem("PC2027", "an SVID is renewed by the trust domain that issued it")
        return Shown(self._authenticator.authenticate(Presented(peer=peer)), "svid")

    async def issue(self, shown: Shown, key: Any, source: str) -> X509Svid:
        """A certificate for ``key``, recorded durably.

        It lives no longer than the shortest life that one of its principal's entries asks for. A
        join token is used up by it, and by no refusal before. Raises Problem PC2061 for one that
        was used meanwhile, PC2004 (not a workload), PC2007, PC4001, PC4002, PC6001, PC7008.
        """
        holder = shown.principal
        if holder.kind not in WORKLOADS:
            raise Problem("PC2004", "certificates are for agents and applications")
        record = await asyncio.to_thread(self._directory.get, holder.kind, holder.id)
        if record is None:
            raise Problem("PC2007", f"there is no {holder.kind} of this name")
        overdue = 0 < record.review_at <= self._clock.now()
        if record.state is not State.ACTIVE or overdue:
            raise Problem("PC4001", f"the {holder.kind} is cut off")
        self._uncut(holder)
        issued = self._authority.issue(
            ours(self._authority.trust_domain, holder.kind, holder.id),
            key,
            ttl=await self._ttl(holder),
        )
        await self._use_up(shown)
        await self._records.done(
            "svid.renew" if shown.attestor == "svid" else "svid.issue",
            kind=holder.kind,
            principal=holder.id,
            credential=f"svid:{issued.serial}",
            source=source,
            parameters={
                "thumbprint": issued.thumbprint,
                "expires_at": int(issued.expires_at),
                "attestor": shown.attestor,
            }
            | ({"renews": holder.credential} if shown.attestor == "svid" else {}),
        )
        self._uncut(holder)  # a rotation since it showed its proof makes that worthless
        return issued

    async def _use_up(self, shown: Shown) -> None:
        if not shown.once:
            return
        now = self._clock.now()
        if await asyncio.to_thread(self._registrations.joined, shown.once, now) is None:
            raise _used()

    def refused(
        self,
        problem: Problem,
        body: SvidRequest,
        shown: Shown | None,
        peer: Peer | None,
        source: str,
    ) -> Problem:
        """Record a refusal, with the fingerprint of what was shown; the problem to answer with."""
        proof = body.join_token or body.kubernetes_token
        credential = "" if peer is None else f"svid:{peer.serial}"
        return self._records.refused(
            "svid.issue" if proof or peer is None else "svid.renew",
            problem,
            source=source,
            kind=shown.principal.kind if shown else "",
            principal=shown.principal.id if shown else "",
            credential=fingerprint(proof) if proof else credential,
        )

    async def _ttl(self, holder: Principal) -> int | None:
        entries = await asyncio.to_thread(self._registrations.entries)
        lives = (
            entry.ttl_seconds
            for entry in entries
            if (entry.kind, entry.principal) == (holder.kind, holder.id)
        )
        return min(filter(None, lives), default=None)

    def bundle(self) -> str:
        """The authorities, in PEM."""
        return pem(self._authority.bundle().x509)

    def _uncut(self, holder: Principal) -> None:
        if self._feed.stale():
            raise Problem("PC4002", "the containment feed is stale")
        reason = self._feed.reason(holder, None)
        if reason is not None:
            raise Problem("PC4001", reason)

    async def _attest(self, body: SvidRequest) -> Shown:
        now = self._clock.now()
        if body.join_token is not None:
            if body.kubernetes_token is not None or body.cluster is not None:
                raise Problem("PC1020", "body: two proofs")
            digest = hashlib.sha256(body.join_token.encode()).digest()
            joining = await asyncio.to_thread(self._registrations.joining, digest, now)
            if joining is None:
                raise _used()
            return Shown(_holder(*joining, "join_token", now), "join_token", digest)
        if body.kubernetes_token is None or body.cluster is None:
            raise Problem("PC1020", "body: give join_token, or kubernetes_token and cluster")
        if self._selectors is None:
            raise Problem("PC2062", "no cluster is configured")
        selectors = frozenset(await self._selectors(body.cluster, body.kubernetes_token))
        entries = await asyncio.to_thread(self._registrations.entries)
        entry = _one(matching(entries, selectors))
        attestor = f"kubernetes:{body.cluster}"
        holder = _holder(entry.kind, entry.principal, attestor, now)
        return Shown(holder, attestor)


class _Attestor(Protocol):
    """What ``clusters`` of identity/attest/kubernetes.py offers."""

    async def attest(self, cluster: str, token: str) -> Any: ...


def of_clusters(clusters: _Attestor) -> Selectors:
    """The selectors of a pod, from whatever attests service-account tokens."""

    async def selectors(cluster: str, token: str) -> Iterable[str]:
        found: Iterable[str] = (await clusters.attest(cluster, token)).selectors
        return found

    return selectors


def router(edge: Edge, enrolment: Enrolment) -> APIRouter:
    """The route, for any listener that may enrol; the door lets everyone in."""
    routes = APIRouter(route_class=edge.door())

    @routes.post(
        "/v1/svid",
        status_code=201,
        response_model=SvidIssued,
        responses=refusals(
            *CREDENTIAL,
            *BODY,
            *("PC2004", "PC2007", "PC2020", "PC2027", "PC2060", "PC2061", "PC2062"),
            *("PC2063", "PC2064", "PC7008"),
        ),
        openapi_extra={"security": []},
    )
    async def enrol(request: Request, body: SvidRequest) -> Response:
        """Get a certificate for a key: by a proof the first time, by the certificate after."""
        source = source_of(request)
        peer: Peer | None = request.scope.get("portcullis.peer")
        shown: Shown | None = None
        try:
            key = requested_key(body.csr)
            if body.join_token is None and body.kubernetes_token is None and body.cluster is None:
                if peer is None:
                    raise Problem("PC2020", "a renewal shows the certificate that it renews")
                shown = enrolment.renewing(peer)
            else:
                shown = await enrolment.attest(body, source.rpartition(":")[0] or source)
            edge.admit_as(request, shown.principal)
            issued = await enrolment.issue(shown, key, source)
        except Problem as problem:
            return edge.answer(request, enrolment.refused(problem, body, shown, peer, source))
        answer = SvidIssued(
            spiffe_id=str(issued.id),
            svid=pem(issued.chain),
            bundle=enrolment.bundle(),
            expires_at=issued.expires_at,
            serial=issued.serial,
        )
        return Response(encode(answer.model_dump()), status_code=201, media_type="application/json")

    return routes


def requested_key(text: str) -> EllipticCurvePublicKey | Ed25519PublicKey:
    """The key of a certificate request whose signature is right. Raises Problem PC2063."""
    try:
        request = x509.load_pem_x509_csr(text.encode())
        key = request.public_key()
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            found: EllipticCurvePublicKey | Ed25519PublicKey = key
        elif isinstance(key, Ed25519PublicKey):
            found = key
        else:
            raise Problem("PC2063", "csr is for a key that is neither P-256 nor Ed25519")
        signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise Problem("PC2063", "csr is not a PKCS #10 request in PEM") from None
    if not signed:
        raise Problem("PC2063", "csr is not signed by its key")
    return found


def _used() -> Problem:
    return Problem("PC2061", "the join token is unknown, used or past its time")


def _one(entries: tuple[Entry, ...]) -> Entry:
    """The entry of the one principal that is meant."""
    if not entries:
        raise Problem("PC2060", "no registration entry is for this workload")
    if len({(entry.kind, entry.principal) for entry in entries}) > 1:
        raise Problem("PC2060", "registration entries make this workload two principals")
    return entries[0]


def _holder(kind: PrincipalKind, name: str, credential: str, now: float) -> Principal:
    return Principal(kind=kind, id=name, credential=credential, expires_at=math.inf, issued_at=now)
