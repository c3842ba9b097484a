"""If this fails, a gateway makes a deployment of its own where it finds none."""

import asyncio

import pytest

from portcullis.bootstrap import running_gateway
from portcullis.config import Config
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


async def test_a_gateway_without_a_control_plane_makes_nothing(tmp_path):
    config, told = Config(trust_domain="example.org", state=tmp_path / "state"), []

    async def run():
        async with running_gateway(config, "edge", told.append):
            pass

    task = asyncio.create_task(run())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not config.state.exists()
    assert len(told) == 1
    with pytest.raises(Problem, match="PC7004"):
        async with running_gateway(config, "control"):
            pass
