"""The gate that the console's tests of a module share."""

import pytest

import standins
from console.people import housed
from e2e.approvals.desk import furnished, policy


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def settings():
    """The section ``console`` of the configuration; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend, settings):
    """A gate with its people, without browsers."""
    folder = tmp_path_factory.mktemp("house")
    async with (
        standins.staged(folder, policy=policy(), settings={"console": settings}) as stage,
        housed(await furnished(stage)) as made,
    ):
        yield made
