"""Tokens made, shown and refused."""

import itertools

import pytest

from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import Grant, TokenAuthority

DOMAIN = "example.test"
NOW = 1_800_000_000
FOREIGN = {"spiffe://elsewhere.test/ns/shop": (PrincipalKind.AGENT, "shop-1")}


class TurnableClock:
    def __init__(self):
        self.time = NOW + 0.5

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


def authority_of(key, clock, domain=DOMAIN, **options):
    numbers = itertools.count(1)
    return TokenAuthority(
        key,
        trust_domain=domain,
        clock=clock,
        new_id=lambda: f"{int(clock.time * 1000):012x}{next(numbers):020x}",
        named=FOREIGN.get,
        **options,
    )


def shown(token, **fields):
    return Presented(token=token, **fields)


def issue(authority, ttl=60, **fields):
    """A token of the agent shop-1 unless told otherwise."""
    grant = {"sub": "agent:shop-1", "client_id": "agent:shop-1", "auth_time": NOW} | fields
    return authority.issue(Grant(**grant), expires_at=NOW + ttl).token


def refusal(authority, presented):
    with pytest.raises(Problem) as refused:
        authority.authenticate(presented)
    assert presented.token == "" or presented.token not in refused.value.detail
    return refused.value.code
