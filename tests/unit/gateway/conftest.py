"""A ``Live`` whose feed cuts off whom a test names."""

import pytest

from portcullis.core.call import Context
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.gateway.live import Live


class Feed:
    """Who is cut off, by name, credential or session."""

    def __init__(self):
        self.cuts = {}
        self.is_stale = False

    def stale(self):
        return self.is_stale

    def reason(self, principal, session):
        keys = (principal.id, principal.credential, session and session.id, *principal.chain)
        return next((self.cuts[key] for key in keys if key in self.cuts), None)


class Trust:
    def __init__(self):
        self.gone = set()

    def holds(self, peer):
        return peer.anchor not in self.gone


class Clock:
    def __init__(self):
        self.time = 1000.0

    def now(self):
        return self.time

    monotonic = now


@pytest.fixture
def feed():
    return Feed()


@pytest.fixture
def trust():
    return Trust()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def live(feed, trust, clock):
    return Live(feed, trust, "shop.test", clock)


@pytest.fixture
def context():
    def make(agent="shop-1", session=None, **principal):
        holder = Principal(
            kind=PrincipalKind.AGENT,
            id=agent,
            **{"credential": "t1", "expires_at": 2e9} | principal,
        )
        return Context(
            principal=holder, session=session, source="test", trace_id="", received_at=0.0
        )

    return make
