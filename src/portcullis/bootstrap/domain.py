"""The trust domain of a running gate: its authority, whom it trusts, and its own certificate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastapi import APIRouter

from portcullis.bootstrap.background import background
from portcullis.bootstrap.foundation import CA
from portcullis.bootstrap.secret_sources import given_out, used_by
from portcullis.config import Config
from portcullis.config.identity import Kubernetes
from portcullis.config.places import Role
from portcullis.control import enrol
from portcullis.control.authority import TrustDomain
from portcullis.control.authority import routers as authority_routers
from portcullis.control.bundle import bundle_router
from portcullis.control.edge import Edge
from portcullis.control.services import Services
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import ours
from portcullis.execution.bundles import Bundles
from portcullis.execution.fetch import Fetcher
from portcullis.execution.keysets import key_source
from portcullis.execution.tls import WebTls
from portcullis.identity.attest.kubernetes import Cluster, Clusters, PublishedKeys, TokenReview
from portcullis.identity.authority import Authority, open_authority
from portcullis.identity.following import Following, follow_authority
from portcullis.identity.own import OwnSvid
from portcullis.identity.trust import Trust
from portcullis.identity.workload import serving

GATEWAY = "gate"
"""The name of the gateway principal."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What proves who is who.

    All gateways of a deployment have one SPIFFE ID: they share keys and state, and who trusts one
    has to trust the others. Which of them it was, the certificate's serial number says.
    """

    config: Config
    services: Services
    authority: Authority | Following
    trust: Trust
    own: OwnSvid

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep it current until the block ends: rotation, renewal, reviews, others' bundles."""
        services, federation = self.services, self.config.identity.federation
        name = services.gateway.rpartition("/")[2]
        folder = self.config.state / "federation"
        bundles = Bundles(
            federation,
            directory=folder if Role.of(name).rules else folder / name,
            trust=self.trust,
            web=WebTls(),
            records=services.identity_records(),
        )
        self._record()
        bundles.load()  # on the loop: those who are told of a new bundle live there
        async with contextlib.AsyncExitStack() as stack:
            work = [self.authority.run(), self.own.run()]
            if Role.of(name).rules:
                work.append(services.principals("gate").watch_reviews())
                if services.glass_parts is not None:
                    work.append(services.breaking_glass("gate").watch())
            if federation:
                work.append(bundles.run())
            for each in work:
                await stack.enter_async_context(background(each))
            yield

    def _record(self) -> None:
        """Have the log hold what happens by itself: our own certificate, the authority's keys."""
        records, trust_domain = self.services.identity_records(), self.config.trust_domain
        gateway = {"kind": PrincipalKind.GATEWAY.value, "principal": GATEWAY}

        def shown(method: str) -> None:
            svid = self.own.current()[0]
            records.noted(
                method,
                **gateway,
                credential=f"svid:{svid.serial}",
                parameters={"thumbprint": svid.thumbprint, "expires_at": int(svid.expires_at)},
            )

        def signing() -> None:
            state = self.authority.state()
            keys: dict[str, str] = {key.name: key.state for key in state.keys}
            records.noted(
                "authority.change",
                **gateway,
                credential="",
                parameters={"trust_domain": trust_domain, "sequence": state.sequence, "keys": keys},
            )

        shown("svid.issue")
        self.own.subscribe(lambda: shown("svid.renew"))
        if isinstance(self.authority, Authority):
            self.trust.subscribe(_when_changed(self.authority, signing))

    @contextlib.asynccontextmanager
    async def workload_api(self) -> AsyncIterator[Path | None]:
        """Serve the SPIFFE Workload API until the block ends, where it is configured."""
        place, services, authority = self.config.listen.workload, self.services, self.authority
        if place is None or not isinstance(authority, Authority):
            yield None
            return
        path = self.config.state / place
        async with serving(
            path,
            authority=authority,
            trust=self.trust,
            registrations=services.registrations,
            directory=services.directory,
            feed=services.feed,
            records=services.identity_records(),
            clock=services.clock,
            settings=self.config.identity,
            skew=services.tokens.clock_skew_seconds,
        ):
            yield path

    def agents_routers(self, edge: Edge) -> Iterator[APIRouter]:
        """What both the gate's listeners and the bootstrap listener serve."""
        services = self.services
        clusters = _clusters(self.config, services)
        enrolment = enrol.Enrolment(
            authority=self.authority,
            authenticator=services.authority,
            registrations=services.registrations,
            directory=services.directory,
            feed=services.feed,
            records=services.identity_records(),
            clock=services.clock,
            selectors=None if clusters is None else enrol.of_clusters(clusters),
        )
        yield enrol.router(edge, enrolment)
        yield bundle_router(self.authority.bundle)

    def control_routers(self, edge: Edge) -> Iterable[APIRouter]:
        """The authority's routes on the control plane."""
        if not isinstance(self.authority, Authority):
            return ()
        return authority_routers(
            edge, TrustDomain(self.authority, self.services.records(), "control")
        )


def opened(
    config: Config, services: Services, doubted: Callable[[], bool] = lambda: False
) -> Domain:
    """Open the trust domain, on the loop that the process runs on.

    Who rules is the authority's only writer; a gateway follows it, and raises Problem PC7008 when
    there is none yet. ``doubted`` says that what it follows may not be what counts.
    """
    rules = Role.of(services.gateway.rpartition("/")[2]).rules
    follow = partial(follow_authority, doubted=doubted)
    authority: Authority | Following = (open_authority if rules else follow)(
        config.state / CA,
        trust_domain=config.trust_domain,
        settings=config.identity,
        sealer=services.sealer,
        clock=services.clock,
        new_id=services.new_id,
    )
    if isinstance(authority, Authority):
        authority.maintain()
    trust = Trust(authority.bundle, services.clock.now)
    loop = asyncio.get_running_loop()
    authority.subscribe(lambda: _soon(loop, trust.refresh))
    gateway = ours(config.trust_domain, PrincipalKind.GATEWAY, GATEWAY)
    own = OwnSvid(authority, gateway, config.listen.names, services.clock)
    return Domain(config, services, authority, trust, own)


def _when_changed(authority: Authority, changed: Callable[[], None]) -> Callable[[], None]:
    """Call ``changed`` when it was our own bundle that did."""
    last = [authority.state().sequence]

    def look() -> None:
        sequence = authority.state().sequence
        if sequence != last[0]:
            last[0] = sequence
            changed()

    return look


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call it on the loop: the authority changes on threads."""
    loop.call_soon_threadsafe(call)


def _clusters(config: Config, services: Services) -> Clusters | None:
    found: dict[str, Cluster] = {
        name: _cluster(name, settings, services)
        for name, settings in config.identity.kubernetes.items()
    }
    return Clusters(found) if found else None


def _cluster(name: str, settings: Kubernetes, services: Services) -> Cluster:
    if settings.jwks is not None:
        return PublishedKeys(
            name,
            settings,
            keys=key_source(str(settings.jwks), tls=WebTls(), clock=services.clock),
            clock=services.clock,
            skew=services.tokens.clock_skew_seconds,
        )
    fetcher = Fetcher(
        settings.review or "",
        tls=WebTls(authorities=settings.ca),
        secrets=used_by(given_out(services), f"kubernetes.{name}"),
        credential=settings.credential,
    )
    return TokenReview(name, settings, fetcher.post)
