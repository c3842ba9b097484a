"""One gate with egress for the tests of a module."""

import pytest

from e2e.egress.stage import staged_egress


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def stage(tmp_path_factory, anyio_backend):
    async with staged_egress(tmp_path_factory.mktemp("egress")) as made:
        yield made


@pytest.fixture(autouse=True)
def _marked(stage):
    stage.mark = len(stage.hosts.seen)
    yield
    stage.hosts.go.clear()
