"""A clock that can be turned, and what issues tokens by it."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unit.identity.tokens.making import TurnableClock, authority_of


@pytest.fixture
def clock():
    return TurnableClock()


@pytest.fixture(scope="module")
def key():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def authority(key, clock):
    """The authority of a gate that takes tokens bound to no key."""
    return authority_of(key, clock, bearer=True)


@pytest.fixture
def strict(key, clock):
    """The authority of a gate as it is by default."""
    return authority_of(key, clock)
