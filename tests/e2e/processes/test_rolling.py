"""If these fail, a restart or an upgrade costs agents their requests, or the log its events."""

import asyncio
import sys
import time

import httpx2
import pytest

from e2e.processes import fleet as processes
from e2e.processes.fleet import LOOK, fleet, until
from e2e.processes.load import CALLS, KINDS, load
from effort import by_night
from ports import free_port

pytestmark = pytest.mark.anyio

EDGES = ("edge-1", "edge-2")
LEASE = 15.0


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def apart(tmp_path_factory, anyio_backend):
    at = tuple(f"--listen={name}=127.0.0.1:{free_port()}" for name in ("gate", "mtls"))
    edges = {name: ("gateway", "--name", name, *at) for name in EDGES}
    settings = {
        "feed": {"lease_seconds": LEASE, "heartbeat_seconds": 0.25},
        "limits": {"drain_seconds": 10},
    }
    folder = tmp_path_factory.mktemp("rolling")
    commands = ("control", "control"), *((name, *words) for name, words in edges.items())
    async with fleet(folder, *commands, gateways=EDGES, settings=settings) as made:
        made.edges = edges
        yield made


@pytest.mark.timeout(240)
async def test_no_request_and_no_event_is_lost_while_every_process_is_restarted(apart):
    async with load(apart) as made:
        await made.more()
        for name in EDGES:
            before = apart.pid(name)
            assert await apart.stop(name) == 0
            await apart.start(name, *apart.edges[name])
            await until(lambda: apart.pid(name) not in {None, before})  # noqa: B023 - at once
            await made.more(1)
        ruling = next(name for name in apart.children if name not in EDGES)
        follows = f"{ruling}-2"
        await apart.start(follows, "control", "--wait")
        await until(lambda: "stands by" in apart.said(follows))
        began = time.monotonic()
        assert await apart.stop(ruling) == 0
        await until(lambda: "log  " in apart.said(follows))
        took = time.monotonic() - began
        await apart.fresh()
        await made.more()
    assert made.failed == []
    assert took < LEASE
    wanted = {made.sessions[kind]: made.done[kind] * CALLS.get(kind, 1) for kind in KINDS}
    found = {
        session: sum(
            event.session == session and event.verdict == "allow" and event.name != ""
            for event in apart.events()
            if event.type in {"llm_call", "tool_call"}
        )
        for session in wanted
    }
    assert found == wanted
    await apart.run("audit", "verify")
    assert not [line for line in apart.said("edge-1").splitlines() if "Traceback" in line]
    assert "PC7088" in await apart.run("restart", code=1)


NEWER = (
    "import portcullis.core.formats as f; f.FORMAT = {}; from portcullis.cli import main; main()"
)


@by_night("half a minute")
@pytest.mark.timeout(240)
async def test_a_program_of_the_next_format_serves_beside_this_one_and_a_later_one_does_not(
    apart, monkeypatch
):
    name = EDGES[1]
    await apart.stop(name)
    with monkeypatch.context() as patch:
        patch.setattr(processes, "PORTCULLIS", [sys.executable, "-c", NEWER.format(2)])
        await apart.start(name, *apart.edges[name])
    await apart.ready(name)
    seen, token = set(), await apart.agent()
    url, headers = f"{apart.stage.gate.gate_url}/v1/calls", {"authorization": f"Bearer {token}"}

    async def both():
        async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
            call = (await http.post(url, json=LOOK)).json()["call"]
        async with httpx2.AsyncClient(headers=headers, timeout=20) as http:  # perhaps the other one
            told = await http.post(f"{url}/{call}/result", json={"result": "done"})
        assert told.json() == {"result": "done"}
        seen.add(call.partition(".")[0])
        return seen == set(EDGES)

    await until(both)
    await apart.stop(name)
    with monkeypatch.context() as patch:
        patch.setattr(processes, "PORTCULLIS", [sys.executable, "-c", NEWER.format(3)])
        late = await apart.start(name, *apart.edges[name])
    assert await asyncio.wait_for(late.wait(), 60) == 1
    assert "PC7087" in apart.said(name)
