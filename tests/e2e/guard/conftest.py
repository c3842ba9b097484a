"""One gate for all of these tests."""

import pytest

from e2e.guard.shop import opened


@pytest.fixture(scope="session")
def gate(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
def shop(gate):
    gate.done.clear()
    gate.during = None
    return gate
