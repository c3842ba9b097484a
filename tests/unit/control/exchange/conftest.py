"""Who asks for tokens, of a gate as it is by default."""

import pytest

from holders import Holder, peer_of


@pytest.fixture(autouse=True)
def strictly(world):
    """The gate as it is by default: no token that is bound to no key."""
    world.services.authority._bearer = False


@pytest.fixture
def holder():
    return Holder()


@pytest.fixture
def shop(world):
    return peer_of("/agent/shop-1", world.clock.now())


@pytest.fixture
def helper(gate, world):
    """Another agent, and its certificate."""
    world.register("agent", "helper")
    return peer_of("/agent/helper", world.clock.now())
