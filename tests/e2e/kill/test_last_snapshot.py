"""If these fail, a gateway that is started while its control plane is away serves nobody, whom it
should not, or by a file that somebody else wrote."""

import signal

import pytest

from e2e.processes.fleet import fleet, until
from portcullis.bootstrap import signed_order
from portcullis.bootstrap.orders import kept_order
from portcullis.config.places import gateway_feed
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio
OTHER = "support-agent-prod-002"


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def apart(tmp_path_factory, anyio_backend):
    commands = ("control", "control"), ("edge", "gateway", "--name", "edge")
    settings = {"feed": {"lease_seconds": 900}}
    folder = tmp_path_factory.mktemp("snapshot")
    async with fleet(folder, *commands, gateways=("edge",), settings=settings) as made:
        yield made


async def again(apart):
    """The gateway killed and started at its address."""
    await apart.stop("edge", signal.SIGKILL)
    at = apart.stage.gate.gate_url.removeprefix("http://")
    await apart.start("edge", "gateway", "--name", "edge", "--listen", f"gate={at}")
    await apart.ready("edge")


async def killed(apart, token):
    return await apart.codes(token) == {"PC4001": 1}


async def test_a_gateway_that_starts_alone_goes_on_from_its_snapshot_and_from_no_other(apart):
    place = gateway_feed(apart.config, "edge")
    await apart.create(PrincipalKind.AGENT, OTHER)
    mine, other = await apart.agent(), await apart.agent(OTHER)
    await apart.run("kill", "--agent", OTHER)
    await until(place.exists)
    await apart.stop("control", signal.SIGKILL)
    await again(apart)
    assert await apart.codes(mine, 3) == {"": 3}
    assert await apart.codes(other, 3) == {"PC4001": 3}
    assert await apart.codes(await apart.agent(), 2) == {"": 2}, "sessions are opened, too"
    assert apart.said("edge").count("feed_resumed") == 1

    # What `kill --all` leaves where no database can be reached acts on who runs, too.
    kept_order(apart.config, signed_order(apart.config, "kill", "fire"))
    await until(lambda: killed(apart, mine))

    content = place.read_bytes()
    place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    await again(apart)
    assert await apart.codes(mine, 3) == {"PC4002": 3}
    assert not place.exists()
    said = [one.code for one in apart.events("edge") if one.method == "feed.snapshot"]
    assert said == ["PC4007"]
