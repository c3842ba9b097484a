"""If these fail, what one gateway knows another does not, and an agent that reaches both is told
that its session is lost, acts twice on one proof, or slips out of reach of a cut.

Each gateway stands at addresses of its own, so that a test says where a request arrives.
"""

import asyncio
import json
import re
import time

import anyio
import httpx2
import msgspec
import pytest
from mcp import MCPError
from mcp.types import ElicitResult

from e2e.gateways.several import AGENTS, several, until
from e2e.matrix.ways import EXCHANGE, JWT, Dpop
from holders import Holder
from portcullis.core.approval import State
from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId
from portcullis.demo.stage import _operator

pytestmark = pytest.mark.anyio

ASKED = {
    "toolset": "program",
    "tool": {
        "name": "look",
        "description": "Looks.",
        "inputSchema": {"type": "object", "properties": {}},
    },
    "arguments": {},
}

ACCEPT = {"accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "c", "version": "1"},
    },
}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def gates(tmp_path_factory, anyio_backend):
    async with several(tmp_path_factory.mktemp("gates"), "one", "two", "three") as made:
        yield made


@pytest.fixture
async def token(gates):
    return await gates.session()


# What two gateways remember together


async def test_what_one_gateway_hid_another_restores_and_none_gives_a_number_twice(gates, token):
    hidden = {}
    for name in gates.gates:
        async with gates.mcp("crm", token, name) as client:
            shown = await client.call_tool("get_customer", {"customer_id": "C-1001"})
            hidden[name] = re.search(r"<EMAIL_ADDRESS_\d+>", str(shown))[0]
    assert set(hidden.values()) == {"<EMAIL_ADDRESS_1>"}
    before = gates.stage.records.count("outbox")
    said = {"to": "<EMAIL_ADDRESS_1>", "subject": "Hello", "body": "Dear <EMAIL_ADDRESS_1>!"}
    async with gates.mcp("mail", token, "three") as client:
        assert not (await client.call_tool("send", said)).is_error
    assert gates.stage.records.count("outbox") == before + 1
    row = gates.stage.records._all("SELECT * FROM outbox")[-1]
    assert (row["recipient"], row["body"]) == ("ada@customer.example", "Dear ada@customer.example!")
    stranger = await gates.session()
    async with gates.mcp("mail", stranger, "two") as client:
        with pytest.raises(MCPError, match="row scope"):
            await client.call_tool("send", said)


async def test_a_proof_is_good_at_one_gateway_once_and_at_no_other(gates):
    holder, url = Holder(), f"{gates.url('one')}/v1/calls"
    bound = await exchanged(gates, holder)
    proof = holder.proof("POST", url, time.time(), bound)
    headers = {"authorization": f"DPoP {bound}", "dpop": proof}
    async with httpx2.AsyncClient(timeout=10, headers=headers) as http:
        assert (await http.post(url, json=ASKED)).status_code == 200
        assert (await http.post(url, json=ASKED)).json()["code"] == "PC2046"
    shown = Presented(token=bound, dpop=proof, method="POST", url=url)
    other = gates.gates["two"].services.authority
    with pytest.raises(Problem, match="PC2046"):  # as if both were at the same address
        other.authenticate(shown)
    fresh = holder.proof("POST", url, time.time(), bound)
    assert other.authenticate(msgspec.structs.replace(shown, dpop=fresh)).id == AGENTS[0]


async def test_who_approves_what_waits_at_one_gateway_sees_what_was_done_at_the_others(gates):
    session, token = await gates.open()
    for name in ("one", "two"):
        async with gates.mcp("orders", token, name) as client:
            await client.call_tool("search", {"customer_id": "C-1001"})
    said = {"customer_id": "C-1001", "subject": "Refund", "body": "to DE89370400440532013000"}

    async def hold():
        async with gates.mcp("tickets", token, "three") as client:
            return await client.call_tool("create", said)

    waiting = asyncio.create_task(hold())
    services = gates.stage.gate.services

    async def asked():
        pending = await services.approvals("test").list({State.PENDING})
        return [one for one in pending if one.session == session]

    [found] = await until(asked)
    _, shown = await services.approvals("test").show(_operator(), found.id)
    assert [step.what for step in shown.recent].count("tools/call orders.search") == 2
    await gates.stage.approve(found.id, "asked the customer")
    assert not (await waiting).is_error


# What one gateway keeps


@pytest.mark.parametrize("names", [("one", "two", "three"), ("two", "two", "one")])
async def test_a_legacy_session_goes_on_whichever_gateway_a_request_reaches(gates, token, names):
    async with gates.mcp("orders", token, *names) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert "search" in tools
        for _ in range(7):
            found = await client.call_tool("search", {"customer_id": "C-1001"})
            assert "O-5001" in str(found)


async def test_a_process_behind_a_legacy_session_is_one_and_the_same(gates, token):
    async with gates.mcp("counting", token) as client:
        seen = [(await client.call_tool("count", {})).structured_content for _ in range(5)]
    assert [one["counted"] for one in seen] == [1, 2, 3, 4, 5]
    assert len({one["process"] for one in seen}) == 1


async def test_a_process_stays_where_a_stateless_conversation_began(gates, token):
    async with gates.mcp("counting", token, mode="auto") as client:
        seen = [(await client.call_tool("count", {})).structured_content for _ in range(5)]
    assert [one["counted"] for one in seen] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_question_of_a_server_s_is_answered_at_whichever_gateway(gates, token, mode):
    async def say_yes(context, params):
        assert params.message == "Are you sure?"
        return ElicitResult(action="accept", content={"sure": True})

    async with gates.mcp("asking", token, mode=mode, elicitation_callback=say_yes) as client:
        for _ in range(3):
            assert "sure: True" in str(await client.call_tool("ask", {}))


async def test_a_session_is_nobody_elses_at_whatever_gateway(gates, token):
    async with gates.http(token, "one", **ACCEPT) as http:
        begun = await http.post("http://gates.example/mcp/orders", json=INITIALIZE)
    kept = begun.headers["mcp-session-id"]
    assert kept.startswith("one.")
    made_up = kept.replace("one.", "two.")
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    foreign = await gates.session(AGENTS[1])
    for whose, session, status in (
        (foreign, kept, 404),
        (token, made_up, 404),
        (token, kept, 200),
    ):
        for name in ("one", "two", "three"):
            async with gates.http(whose, name, **ACCEPT, **{"mcp-session-id": session}) as http:
                answer = await http.post("http://gates.example/mcp/orders", json=asked)
            assert answer.status_code == status
            assert status == 200 or code(answer) == "PC1035"
    assert not any(event.code == "PC7051" for event in gates.events("two"))


async def test_a_guard_call_is_reported_to_whichever_gateway_and_once(gates, token):
    async with gates.http(token) as http:
        for _ in range(4):
            allowed = (await http.post("http://gates.example/v1/calls", json=ASKED)).json()
            place = f"http://gates.example/v1/calls/{allowed['call']}/result"
            told = await http.post(place, json={"result": "paid by ada@customer.example"})
            assert told.json() == {"result": "paid by <EMAIL_ADDRESS_1>"}
            again = await http.post(place, json={"result": "paid"})
            assert (again.status_code, again.json()["code"]) == (404, "PC5020")
    foreign = await gates.session(AGENTS[1])
    async with gates.http(token, "one") as http, gates.http(foreign, "two") as thief:
        allowed = (await http.post("http://gates.example/v1/calls", json=ASKED)).json()
        place = f"http://gates.example/v1/calls/{allowed['call']}/result"
        assert (await thief.post(place, json={"result": "x"})).json()["code"] == "PC5020"
        assert (await http.post(place, json={"result": "mine"})).json() == {"result": "mine"}


async def test_a_proof_shown_at_another_gateway_names_what_the_client_addressed(gates):
    holder = Holder()
    bound = {"authorization": f"DPoP {await exchanged(gates, holder)}"}
    async with httpx2.AsyncClient(timeout=10, headers=bound, auth=Dpop(holder)) as http:
        call = (await http.post(f"{gates.url('one')}/v1/calls", json=ASKED)).json()["call"]
        places = [f"{gates.url(name)}/v1/calls/{call}/result" for name in ("two", "one")]
        told = await http.post(places[0], json={"result": "done"})
        assert told.json() == {"result": "done"}
    again = {name: told.request.headers[name] for name in ("authorization", "dpop")}
    async with httpx2.AsyncClient(timeout=10, headers=again) as http:
        seen = [(await http.post(place, json={"result": "x"})).json()["code"] for place in places]
    assert seen == ["PC2046", "PC2044"]


# Gateways that end


async def test_a_gateway_that_is_gone_takes_its_sessions_with_it_and_clients_begin_anew(
    gates, token
):
    await gates.begin("four")
    async with gates.http(token, "four") as http:
        allowed = (await http.post("http://gates.example/v1/calls", json=ASKED)).json()["call"]
    async with gates.mcp("counting", token, "four", mode="auto") as client:
        assert (await client.call_tool("count", {})).structured_content["counted"] == 1
    async with gates.http(token, "four", **ACCEPT) as http:
        first = await http.post("http://gates.example/mcp/orders", json=INITIALIZE)
    session = {"mcp-session-id": first.headers["mcp-session-id"]}
    await gates.end("four")
    async with gates.http(token, "one") as http:
        told = await http.post(
            f"http://gates.example/v1/calls/{allowed}/result", json={"result": "x"}
        )
        assert (told.status_code, told.json()["code"]) == (404, "PC5020")
        lost = await http.post(
            "http://gates.example/mcp/orders",
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
            headers=ACCEPT | session,
        )
        assert (lost.status_code, code(lost)) == (404, "PC1035")
    async with gates.mcp("counting", token, "one", "two", mode="auto") as client:
        seen = [(await client.call_tool("count", {})).structured_content for _ in range(4)]
    assert [one["counted"] for one in seen] == [1, 2, 3, 4], "another gateway keeps it now"


# A cut


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_stream_that_passes_through_two_gateways_is_cut_in_both(gates, mode):
    session, token = await gates.open()
    steps = []

    async def progress(*_):
        steps.append(time.monotonic())

    async def running():
        async with gates.mcp("counting", token, "one", *["two"] * 50, mode=mode) as client:
            asked = {"to": 500, "seconds": 0.02}
            await client.call_tool("steps", asked, progress_callback=progress)

    if mode == "auto":
        async with gates.mcp("counting", token, "one", mode=mode) as client:
            await client.call_tool("count", {})
    task = asyncio.create_task(running())
    await until(lambda: len(steps) > 3)
    await gates.stage.gate.services.feed.cut("session", session, "the test says so")
    cut = time.monotonic()
    with anyio.fail_after(5):
        [ended] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended, BaseException)
    assert steps[-1] < cut + 0.5


async def exchanged(gates, holder):
    """A token that is bound to the holder's key, for a JWT-SVID that is used up by that."""
    domain = gates.stage.gate.domain.authority
    spiffe_id = SpiffeId(domain.trust_domain, f"/agent/{AGENTS[0]}")
    audience = [f"spiffe://{domain.trust_domain}/gateway/gate"]
    shown = {"subject_token": domain.sign_jwt(spiffe_id, audience).token}
    form = {"grant_type": EXCHANGE, "subject_token_type": JWT} | shown
    answers = []
    async with httpx2.AsyncClient(timeout=10) as http:
        for name in ("one", "two"):
            url = f"{gates.url(name)}/v1/token"
            proof = {"dpop": holder.proof("POST", url, time.time(), None)}
            answers.append((await http.post(url, data=form, headers=proof)).json())
    assert answers[1]["code"] == "PC2036", "it is used up at every gateway"
    return answers[0]["access_token"]


def code(answer):
    return json.loads(answer.text)["error"]["data"]["code"]
