"""If these fail, a gateway without its control plane goes on as if nobody could be cut off, or
stays useless when it is back; or children outlive what should keep watch over them."""

import asyncio
import contextlib
import signal
import time

import httpx2
import openai
import pytest

import standins
from e2e.processes.fleet import fleet, runs, until
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


FORM = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


@pytest.fixture(scope="module")
async def apart(tmp_path_factory, anyio_backend):
    commands = ("edge", "gateway", "--name", "edge"), ("control", "control")
    folder, says = tmp_path_factory.mktemp("apart"), {"edge": "edge: waits for the control plane"}
    async with fleet(folder, *commands, gateways=("edge",), says=says) as made:
        yield made


def test_a_gateway_that_starts_first_waits_and_says_for_what(apart):
    assert apart.said("edge").count("edge: waits for the control plane") == 1
    assert len(apart.said("edge").splitlines()) < 20


async def test_without_control_everything_is_refused_within_the_lease_until_it_is_back(apart):
    token = await apart.agent()
    assert await apart.codes(token, 3) == {"": 3}
    async with standins.openai_client(apart.stage, token) as client:
        said = [{"role": "user", "content": "Hello, hello, hello and good bye"}]
        stream = await client.chat.completions.create(
            model="gpt-standin:stall", messages=said, stream=True
        )
        await anext(aiter(stream))
        await apart.stop("control", signal.SIGKILL)
        since = time.monotonic()
        with contextlib.suppress(openai.APIError, httpx2.TransportError):
            async for _ in stream:
                await asyncio.sleep(0)
        assert time.monotonic() - since < apart.config.feed.lease_seconds + 2
    url = apart.stage.gate.gate_url
    async with httpx2.AsyncClient(timeout=5) as http:
        ready = await http.get(f"{url}/readyz")
        assert (ready.status_code, ready.text) == (503, '{"status":"not ready"}')
        assert (await http.get(f"{url}/healthz")).text == '{"status":"ok"}'
    assert await apart.codes(token, 6) == {"PC4002": 6}
    with pytest.raises(RuntimeError, match="PC4002"):
        await apart.opened()
    async with httpx2.AsyncClient(timeout=5) as http:
        answer = await http.post(f"{url}/v1/token", data=FORM | {"subject_token": token})
        assert "PC4002" in answer.text
    missing = await apart.run("doctor", "--json", code=1)
    assert "edge refuse everything" in missing
    agent = ("--agent", standins.AGENT)
    said = await apart.run("kill", *agent, code=1)
    assert "edge  DID NOT ANSWER: it refuses everything within 1 s" in said
    await apart.run("kill", "--undo", *agent, "--reason", "a drill", code=1)
    await apart.start("control", "control")
    await apart.fresh()
    assert await apart.codes(token, 6) == {"": 6}
    await apart.create(PrincipalKind.AGENT, "support-agent-prod-002")
    assert await apart.codes(await apart.agent("support-agent-prod-002")) == {"": 1}
    await apart.run("audit", "verify")


async def test_what_was_done_without_a_gateway_holds_when_it_is_back(apart):
    await apart.agent("support-agent-prod-002")
    await apart.stop("edge")
    await apart.run("agent", "suspend", "support-agent-prod-002")
    await apart.start("edge", "gateway", "--name", "edge", "--listen", f"gate={_at(apart)}")
    await apart.ready("edge")
    assert await apart.codes(await apart.agent()) == {"": 1}
    with pytest.raises(RuntimeError, match="PC"):
        await apart.agent("support-agent-prod-002")


def _at(apart):
    return apart.stage.gate.gate_url.removeprefix("http://")


async def test_children_end_with_their_parent_however_it_ends(tmp_path):
    async with fleet(tmp_path, ("up", "up", "--workers", "2"), gateways=("gate-1",)) as made:
        await made.ready("gate-2")
        children = [made.pid("gate-1"), made.pid("gate-2")]
        await made.stop("up", signal.SIGKILL)
        await until(lambda: not any(map(runs, children)), 10)
        assert made.said("up").count(": draining") == 2
