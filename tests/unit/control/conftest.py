"""Both APIs in process, over a real store, with a clock that turns and a recorder that can fail."""

import hmac
import itertools
import secrets
from dataclasses import dataclass, field

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry, Counter
from starlette.testclient import TestClient

from databases import new_database
from holders import Issuer, trust_in
from portcullis.config import Approvals, Limits, Review, Tokens
from portcullis.config.break_glass import BreakGlass
from portcullis.control import (
    activity_api,
    admin,
    agents_api,
    alerts_api,
    approvals_api,
    breakers_api,
    bundles_api,
    catalogue_api,
    certifying_api,
    incidents_api,
    kills_api,
    quarantine_api,
    releases_api,
    reviews_api,
)
from portcullis.control.alerts import AlertParts
from portcullis.control.approvals import ApprovalParts
from portcullis.control.break_glass import GlassParts
from portcullis.control.bundles import Bundles
from portcullis.control.certifying import CertifyingParts
from portcullis.control.desk import DeskParts
from portcullis.control.live import Feed
from portcullis.control.releases import ReleaseParts
from portcullis.control.reviews import ReviewParts
from portcullis.control.services import Services
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.oidc import Person
from portcullis.identity.once import LocalOnce
from portcullis.identity.orders import OrderBook
from portcullis.identity.passwords import Cost
from portcullis.identity.tokens import TokenAuthority
from portcullis.policy.delivery import sources
from portcullis.review.grants import Confirmed, Known
from portcullis.review.grants_review import Asking, review
from portcullis.store.activity import SqlActivity
from portcullis.store.alerts import SqlAlerts
from portcullis.store.approvals import SqlApprovals
from portcullis.store.break_glass import SqlBreakGlass
from portcullis.store.breakers import SqlBreakers
from portcullis.store.certificates import SqlCertificates
from portcullis.store.directory import SqlDirectory
from portcullis.store.killfeed import LocalKillFeed
from portcullis.store.labels import SqlLabels
from portcullis.store.memories import SqlMemories
from portcullis.store.operators import SqlOperators
from portcullis.store.pins import SqlPins
from portcullis.store.policy_releases import SqlReleases
from portcullis.store.registrations import SqlRegistrations
from portcullis.store.reviews import SqlReviews
from portcullis.store.sessions import LocalSessionState
from portcullis.store.spent import SqlSpent
from responses import incident_parts
from sealers import sealer_at

DOMAIN = "example.test"


@dataclass
class TurnableClock:
    time: float = 1_800_000_000.25

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@dataclass
class MemoryRecorder:
    """Keeps events; ``full`` makes it refuse; ``watch`` is called before each durable write."""

    events: list[Event] = field(default_factory=list)
    full: bool = False
    watch: object = None
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    async def durable(self, event: Event) -> None:
        if self.watch is not None:
            self.watch(event)
        self.enqueue(event)

    def enqueue(self, event: Event) -> None:
        if self.full:
            raise Problem("PC6001", "the queue is full")
        self.events.append(event)

    def commitment(self, subject: str, value: bytes) -> str:
        digest = hmac.digest(self.key, subject.encode() + b"\0" + value, "sha256")
        return "hmac-sha256:" + digest.hex()

    @property
    def last(self) -> Event:
        return self.events[-1]


class Nothing:
    """No approved call went before, and nothing is watched."""

    def find(self, agent, server, name):
        return None

    def watch(self, watcher) -> None:
        """Nothing happens."""


class People:
    """An issuer of ID tokens: ``known`` are the people whom they are about."""

    def __init__(self) -> None:
        self.known: dict[str, Person] = {}

    async def operator(self, token: str) -> Person:
        if token not in self.known:
            raise Problem("PC2072", "the signature is wrong")
        return self.known[token]

    user = operator


class Behind:
    """Puts the peer of ``world`` into each request, as the mTLS listener does."""

    def __init__(self, app, world) -> None:
        self._app, self._world = app, world
        self.openapi = app.openapi

    async def __call__(self, scope, receive, send) -> None:
        if self._world.peer is not None:
            scope["portcullis.peer"] = self._world.peer
        await self._app(scope, receive, send)


@dataclass
class World:
    clock: TurnableClock
    recorder: MemoryRecorder
    services: Services
    issuer: Issuer
    elsewhere: Issuer
    ready: bool = True
    peer: object = None
    """Who shows a certificate on the connection, if anybody."""
    words: set[str] = field(default_factory=set)
    """What policy lets everybody use."""
    asked: list = field(default_factory=list)
    """The contexts in which that was asked."""

    def usable(self, context, words) -> bool:
        """The policy's word on a scope."""
        self.asked.append(context)
        return self.words.issuperset(words)

    def app(self, services=None, **parts):
        """The gate's API."""
        services = services or self.services
        parts = {
            "trust": trust_in(self.issuer, self.elsewhere),
            "usable": self.usable,
            "names": ("gate.test", "testserver"),
        } | parts
        return agents_api.create_app(services, **parts)

    def register(self, kind: str, name: str, roles=()) -> str:
        """Register a principal; its id."""
        self.services.directory.create(
            PrincipalRecord(
                kind=PrincipalKind(kind),
                id=name,
                owner="shop",
                state=State.ACTIVE,
                roles=tuple(roles),
                created_at=self.clock.now(),
            )
        )
        return name

    def context(self, operator: str, *roles: str) -> Context:
        """What an operator does."""
        return Context(
            principal=self.principal("operator", operator, roles=roles),
            session=None,
            source="127.0.0.1:5000",
            trace_id="",
            received_at=self.clock.now(),
        )

    async def set_state(self, kind: str, name: str, state: str) -> None:
        """Put a principal into a state, at once and durably."""
        record = self.services.directory.get(PrincipalKind(kind), name)
        await self.services.feed.put(msgspec.structs.replace(record, state=State(state)))

    def token(self, kind: str, name: str, **fields) -> str:
        return self.services.authority.mint(
            PrincipalKind(kind), name, **({"ttl": 600} | fields)
        ).token

    def principal(self, kind: str, name: str, **fields) -> Principal:
        """A principal as it would be authenticated now."""
        values = {"credential": "ab34", "expires_at": 2e9, "issued_at": self.clock.now()}
        return Principal(kind=PrincipalKind(kind), id=name, **(values | fields))

    def bearer(self, kind: str, name: str, **fields) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(kind, name, **fields)}"}


def surveyed(engine, sealer):
    """A review of the release in force."""
    book = SqlReleases(engine, sealer)
    active = book.standing().active
    if active is None:
        raise Problem("PC7030", "no release of policy is active yet")
    confirmed = {
        name: Confirmed(at=one.at, by=one.by, release=one.release)
        for name, one in SqlCertificates(engine).confirmed().items()
    }
    files = sources(book.files(active.number))
    asking = Asking(release=active.number)
    return review(files, Known(confirmed=confirmed), TurnableClock().now(), asking)


@pytest.fixture
def world(tmp_path):
    clock = TurnableClock()
    recorder = MemoryRecorder()
    engine = new_database(tmp_path / "portcullis.db")
    directory = SqlDirectory(engine)
    numbers = itertools.count(1)
    sealer = sealer_at(tmp_path)
    once = LocalOnce(clock)
    kill_key = Ed25519PrivateKey.generate()
    authority = TokenAuthority(
        Ed25519PrivateKey.generate(),
        trust_domain=DOMAIN,
        clock=clock,
        once=once,
        bearer=True,
        new_id=lambda: f"{int(clock.time * 1000):012x}{next(numbers):020x}",
    )
    alerts = SqlAlerts(engine, clock, lambda: f"{next(numbers):032x}", 3600.0)
    services = Services(
        authority=authority,
        once=once,
        directory=directory,
        registrations=SqlRegistrations(engine),
        operators=SqlOperators(engine),
        pins=SqlPins(engine),
        feed=LocalKillFeed(engine, directory, clock),
        sessions=LocalSessionState(engine, clock, sealer),
        recorder=recorder,
        sealer=sealer,
        clock=clock,
        tokens=Tokens(
            ttl_seconds=600,
            operator_ttl_seconds=600,
            session_ttl_seconds=900,
            renew_until_seconds=1500,
            bearer="loopback",
        ),
        limits=Limits(body_bytes=1_000_000, receive_seconds=5),
        trust_domain=DOMAIN,
        gateway="gate-1",
        version="1.2.3",
        new_id=lambda: f"id-{next(numbers)}",
        id_tokens=People(),
        orders=OrderBook(tmp_path, kill_key.public_key(), clock),
        kill_key=kill_key,
        labels=SqlLabels(engine, sealer),
        memories=SqlMemories(engine, sealer),
        spending=SqlSpent(engine),
        breakers=SqlBreakers(engine, "gate-1"),
        glass_parts=GlassParts(SqlBreakGlass(engine), BreakGlass(may=("responder",)), 600),
        approval_parts=ApprovalParts(SqlApprovals(engine), Approvals(), bytes(32)),
        desk_parts=DeskParts(
            SqlActivity(engine),
            Nothing(),
            Feed(Nothing(), SqlApprovals(engine).changed, clock),
        ),
        review_parts=ReviewParts(
            SqlReviews(engine),
            Review(),
            "gate",
            owner_may_close=False,
            size=lambda: len(recorder.events),
            since=0,
        ),
        alert_parts=AlertParts(alerts, alerts),
        incident_parts=incident_parts(engine),
        release_parts=ReleaseParts(
            book=SqlReleases(engine, sealer),
            needed=1,
            binding=True,
            compiled=lambda files: f"sha256:{len(files):064}",
        ),
        certifying_parts=CertifyingParts(
            SqlCertificates(engine), SqlReleases(engine, sealer), lambda: surveyed(engine, sealer)
        ),
        argon2=Cost(iterations=1, lanes=1, memory_kib=64),
        login_grain=0,
    )
    yield World(
        clock=clock,
        recorder=recorder,
        services=services,
        issuer=Issuer(DOMAIN),
        elsewhere=Issuer("elsewhere.test"),
    )
    engine.dispose()


@pytest.fixture
def gate(world):
    """A client of the gate's API, with the agent ``shop-1`` and the application ``web`` there."""
    world.register("agent", "shop-1")
    world.register("application", "web")
    app = Behind(world.app(), world)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def control(world):
    """A client of the control plane's API, with the operators ``ada`` (admin) and ``vic``."""
    world.register("operator", "ada", ["admin"])
    world.register("operator", "vic", ["viewer"])
    registry = CollectorRegistry()
    Counter("portcullis_example", "An example.", registry=registry).inc()
    app = admin.create_app(
        world.services,
        registry=registry,
        ready=lambda: world.ready,
        routers=lambda edge: (
            *catalogue_api.routers(edge, world.services.catalogue("control")),
            *approvals_api.routers(
                edge, world.services.approvals("control"), world.services.desk("control")
            ),
            activity_api.router(edge, world.services.activity()),
            *reviews_api.routers(edge, world.services.reviews("control")),
            *breakers_api.routers(edge, world.services.breaking("control")),
            *alerts_api.routers(edge, world.services.alerting("control")),
            *quarantine_api.routers(edge, world.services.quarantining("control")),
            *kills_api.routers(edge, world.services.kills("control")),
            *incidents_api.routers(edge, world.services.incidents("control")),
            *releases_api.routers(edge, edge, world.services.releasing("control")),
            *certifying_api.routers(edge, world.services.certifying("control")),
            bundles_api.router(
                edge,
                Bundles(
                    world.services.release_parts.book, lambda *_: b"bundle", world.services.clock
                ),
            ),
        ),
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
