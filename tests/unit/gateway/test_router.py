"""If these fail, one agent can keep the others out."""

import asyncio
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from portcullis.config import Limits
from portcullis.core.call import Context
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.router import Router

pytestmark = pytest.mark.anyio


class Access:
    def __init__(self):
        self.spent = []

    async def admit(self, shown, *, source, trace_id, spend=True, trace=None):
        self.spent.append(spend)
        credential = shown.token
        principal = Principal(
            kind=PrincipalKind.AGENT, id=credential, credential=credential, expires_at=2e9
        )
        return Context(
            principal=principal, session=None, source=source, trace_id=trace_id, received_at=0
        )


class Refusals:
    def __init__(self):
        self.codes = []

    def refused(self, problem, **where):
        self.codes.append((problem.code, where["principal"]))
        return problem


@dataclass
class Busy:
    """A handler that holds every request until it is let go."""

    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request, context, *where):
        await self.free.wait()
        await request.send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.fixture
def busy():
    return Busy()


@pytest.fixture
def refusals():
    return Refusals()


@pytest.fixture
def access():
    return Access()


@pytest.fixture
def router(busy, refusals, live, access):
    return Router(
        access=access,
        live=live,
        names=("localhost",),
        pipeline=refusals,
        models=busy,
        mcp=busy,
        guard=busy,
        api=busy_api(busy),
        limits=Limits(calls_in_flight=4, calls_per_agent=2),
        metrics=Metrics(CollectorRegistry()),
    )


def busy_api(busy):
    async def api(scope, receive, send):
        await busy.free.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    return api


def ask(router, agent, path="/mcp/orders"):
    statuses = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(b"authorization", b"Bearer " + agent.encode())],
    }

    async def run():
        await router(scope, receive, send)
        return statuses[0]

    return asyncio.create_task(run())


async def test_one_agent_gets_its_share_and_no_more(router, busy, refusals):
    greedy = [ask(router, "greedy") for _ in range(3)]
    other = ask(router, "other")
    await asyncio.sleep(0.01)
    assert refusals.codes == [("PC5025", "greedy")]
    busy.free.set()
    assert sorted(await asyncio.gather(*greedy, other)) == [200, 200, 200, 429]


async def test_the_api_for_applications_is_bounded_too(router, busy, refusals):
    asked = [ask(router, "anybody", "/v1/sessions") for _ in range(5)]
    await asyncio.sleep(0.01)
    assert [code for code, _ in refusals.codes] == ["PC5006"]
    busy.free.set()
    assert sorted(await asyncio.gather(*asked)) == [200, 200, 200, 200, 503]


async def test_a_share_is_given_back(router, busy, refusals):
    busy.free.set()
    for _ in range(5):
        assert await ask(router, "greedy") == 200
    assert refusals.codes == []


async def test_a_draining_gate_serves_what_still_comes(router, busy, refusals):
    busy.free.set()
    router.drain()
    assert await ask(router, "late") == 200
    assert refusals.codes == []


async def said(router, path):
    found = []

    async def send(message):
        found.append(message)

    await router({"type": "http", "method": "GET", "path": path, "headers": []}, None, send)
    return found[0]["status"], found[1]["body"]


async def test_a_gateway_says_how_it_is_to_whoever_asks_and_nothing_else(router, refusals):
    fresh = [True]
    router.report(lambda: fresh[0])
    assert await said(router, "/healthz") == (200, b'{"status":"ok"}')
    assert await said(router, "/readyz") == (200, b'{"status":"ready"}')
    fresh[0] = False
    assert await said(router, "/readyz") == (503, b'{"status":"not ready"}')
    fresh[0] = True
    router.drain()
    assert (await said(router, "/readyz"))[0] == 503
    assert (await said(router, "/healthz"))[0] == 200
    assert refusals.codes == []


async def test_where_there_is_a_control_plane_it_alone_says_how_things_are(router, refusals):
    assert (await said(router, "/readyz"))[0] != 200
    assert len(refusals.codes) == 1


class Way:
    """To another gateway, which keeps what is asked for under these names."""

    def __init__(self, *names):
        self.names, self.passed = names, []

    def concerns(self, request, first, rest):
        return first == "mcp"

    async def passed_on(self, request, context, first, rest):
        if rest not in self.names:
            return False
        self.passed.append(rest)
        await request.send({"type": "http.response.start", "status": 202, "headers": []})
        return True


async def test_a_proof_is_used_up_where_the_request_is_served_and_only_there(router, access, busy):
    busy.free.set()
    router._elsewhere = way = Way("theirs")
    assert await ask(router, "a", "/mcp/theirs") == 202
    assert access.spent == [False]
    assert await ask(router, "a", "/mcp/mine") == 200
    assert access.spent == [False, False, True]
    assert await ask(router, "a", "/openai/v1/models") == 200
    assert access.spent[3:] == [True]
    assert way.passed == ["theirs"]
