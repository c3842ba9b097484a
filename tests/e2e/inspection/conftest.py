"""One gate for the tests of a module."""

import pytest

from e2e.inspection.desk import desks


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def desk(tmp_path_factory, anyio_backend):
    async with desks(tmp_path_factory.mktemp("desk")) as made:
        yield made
