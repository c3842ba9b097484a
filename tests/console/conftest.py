"""The gate that the console's tests share."""

import pytest

import standins
from console.people import housed
from console.scenes import policy
from e2e.approvals.desk import furnished


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
async def house(tmp_path_factory, anyio_backend):
    """A gate with its people, without browsers, for all tests that ask for no other."""
    folder = tmp_path_factory.mktemp("house")
    free = {"command": ["/bin/cat", "--hidden"], "sandbox": "none"}
    sealed = {"command": ["/bin/cat"], "per_session": True}
    settings = {"mcp": {"free": free, "sealed": sealed}}
    async with (
        standins.staged(folder, policy=policy(), settings=settings) as stage,
        housed(await furnished(stage)) as made,
    ):
        yield made
