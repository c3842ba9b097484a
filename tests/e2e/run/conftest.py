"""One gate for all tests of a module, and a home of its own for each."""

from __future__ import annotations

import pytest

from e2e.run.house import POLICY, SETTINGS, House
from standins import staged


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def stage(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("run")
    async with staged(folder, policy=POLICY, settings=SETTINGS) as running:
        made = House(running, folder)
        await made.hire("worker-1", "worker-2", "worker-3", "worker-4")
        yield running


@pytest.fixture
def house(stage, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return House(stage, home)
