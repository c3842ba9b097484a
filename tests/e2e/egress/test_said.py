"""If these fail, an agent says or hears on its way out what it may not, or has the credentials."""

import asyncio
import base64
import gzip
import ssl

import pytest

import needles
from e2e.egress.asking import KEY, cell, reached
from e2e.egress.rules import GIVEN, OPEN, ORDERS, READ, SECRET
from e2e.egress.stage import code_in
from e2e.matrix.deployment import operator

pytestmark = pytest.mark.anyio


@cell("inspect-data", "request result stream")
async def test_secrets_go_neither_out_nor_in(stage):
    async with stage.http() as http:
        before = reached(stage)
        form = base64.b64encode(f"my key is {KEY}".encode()).decode()
        for sent in (
            {"content": f"key={KEY}"},
            {"json": {"deep": [{"key": KEY}]}},
            {"content": gzip.compress(KEY.encode()), "headers": {"content-encoding": "gzip"}},
            {"headers": {"x-note": KEY}},
            {"params": {"q": KEY}},
            {"content": form},
        ):
            answer = await http.post(stage.url(READ), **sent)
            assert code_in(answer.text) == "PC3021", sent
        assert reached(stage) == before
        answer = await http.get(stage.url(READ, "/public/?say=key"))
        assert answer.json() == {"key": "[AWS_ACCESS_KEY_ID]", "n": 1}
        answer = await http.get(stage.url(READ, "/public/events?say=a&say=key&say=b"))
        assert answer.text == "data: a\n\ndata: [AWS_ACCESS_KEY_ID]\n\ndata: b\n\n"
    event = await stage.recorded("PC3021", check="inspect", route="egress")
    assert event.findings
    assert needles.files_with(KEY, stage.stage.config.parent / "state") == []


@cell("inspect-injection", "result stream")
async def test_orders_in_an_answer_do_not_reach_the_agent(stage):
    async with stage.http() as http:
        answer = await http.get(stage.url(READ, "/public/?say=orders"))
        assert code_in(answer.text) == "PC3022"
        assert "evil@attacker" not in answer.text
        said = []

        async def listen():
            async with http.stream("GET", stage.url(READ, "/public/events?say=a&say=orders")) as it:
                said.extend([piece async for piece in it.aiter_bytes()])

        with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|disconnect"):
            await listen()
        assert ORDERS not in str(said)
    await stage.recorded("PC3022", route="egress", type="result")


@cell("opaque-content", "request result stream")
async def test_what_cannot_be_read_goes_where_policy_lets_it(stage):
    blob = bytes(range(256))
    async with stage.http() as http:
        before = reached(stage)
        assert code_in((await http.post(stage.url(READ), content=blob)).text) == "PC3024"
        assert reached(stage) == before
        assert (await http.get(stage.url(READ, "/public/?say=blob"))).content == blob
    async with stage.http("wary") as http:
        answer = await http.get(stage.url(READ, "/public/?say=blob"))
        assert code_in(answer.text) == "PC3024"
    from websockets import ConnectionClosed, connect  # noqa: PLC0415 - one of two uses

    trust = ssl.create_default_context(cafile=await stage.trust("wary"))
    url = stage.url(READ, "/public/socket").replace("https", "wss")
    async with connect(url, proxy=await stage.proxy("wary"), ssl=trust) as opened:
        await opened.send("blob")
        with pytest.raises(ConnectionClosed):
            await opened.recv()
    await stage.recorded("PC3024", principal="wary", method="", type="result")


@cell("canaries", "request result stream")
async def test_what_was_planted_in_a_prompt_goes_nowhere(stage):
    acting = await stage.session()
    async with stage.http(acting) as http:
        planted = await stage.planted(acting)
        before = reached(stage)
        for text in (planted, base64.b64encode(planted.encode()).decode()):
            answer = await http.post(stage.url(READ), content=f"it says {text}")
            assert code_in(answer.text) == "PC3020"
        assert reached(stage) == before
        stage.hosts.told = f"your prompt has {planted}"
        answer = await http.get(stage.url(READ, "/public/?say=told"))
        assert code_in(answer.text) == "PC3020"
        with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|disconnect"):
            await http.get(stage.url(READ, "/public/events?say=told"))
    await stage.recorded("PC3020", session=acting.session, type="result")


@cell("broker", "request result stream")
async def test_a_credential_goes_to_its_host_and_never_back(stage):
    async with stage.http() as http:
        mine = {"authorization": "Bearer of-the-agent"}
        assert (await http.get(stage.url(GIVEN, "/x"), headers=mine)).status_code == 200
        sent = {name.lower(): value for name, value in stage.hosts.seen[-1][3].items()}
        assert sent["authorization"] == f"Bearer {SECRET}"
        answer = await http.get(stage.url(GIVEN, "/public/reflect"))
        assert code_in(answer.text) == "PC5005"
        assert SECRET not in answer.text
        with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|disconnect"):
            await http.get(stage.url(GIVEN, "/public/events?say=sent"))
        await http.get(stage.url(READ), headers=mine)
        assert SECRET not in str(stage.hosts.seen[-1])
    await stage.recorded("PC5005", type="result")
    assert needles.files_with(SECRET, stage.stage.config.parent / "state") == []


@cell("keys-at-rest", "request")
async def test_no_key_of_a_root_lies_on_disk(stage):
    async with stage.http() as http:
        assert (await http.get(stage.url(READ))).status_code == 200
    agent = "coder"
    made = stage.authority._key(agent).private_numbers().private_value.to_bytes(32)
    state = stage.stage.config.parent / "state"
    held = [path for path in state.rglob("*") if path.is_file() and made in path.read_bytes()]
    assert held == []


async def test_an_agents_root_vouches_for_its_terminated_hosts_alone(stage):
    pem = (await stage.trust("coder")).read_text().partition(stage.trusted.pem())[2]
    assert "BEGIN CERTIFICATE" in pem

    def shake(agent, host):
        client, server = (
            ssl.create_default_context(cadata=pem),
            stage.authority.context(agent, host),
        )
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        one = client.wrap_bio(to_client, to_server, server_hostname=host)
        two = server.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(4):
            for side in (one, two):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        return one.version()

    assert shake("coder", READ) == "TLSv1.3"
    for agent, host in (("coder", "bank.example"), ("coder", OPEN), ("rival", READ)):
        with pytest.raises(ssl.SSLError):
            shake(agent, host)
    none = await stage.ask(
        b"GET /authority.pem HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n", "walled"
    )
    assert none.startswith(b"HTTP/1.1 204")


@cell("record", "request result stream")
async def test_what_goes_out_is_on_record_before_it_goes(stage):
    async with stage.waiting() as open_one:
        known = {e.id for e in stage.events() if e.method == "CONNECT" and e.verdict == "allow"}
        assert known, "the decision is on disk while the tunnel is open"
        open_one.writer.transport.abort()
    async with stage.http() as http:
        asking = asyncio.create_task(http.get(stage.url(READ, "/public/slow")))
        await stage.until(lambda: stage.slow() >= 2)
        assert [e for e in stage.events() if e.method == "GET" and e.risk == "external"]
        stage.hosts.go.set()
        assert (await asking).text == "begun\n"
        stage.hosts.go.clear()
        await http.get(stage.url(READ, "/public/events?say=a&say=b"))
    await stage.recorded("", type="result", name=f"{READ}:{stage.tls}", verdict="allow")
    await stage.until(
        lambda: any(
            e.result and e.result.chunks == 2 and e.result.bytes == 18 for e in stage.events()
        )
    )
    decided = {e.id for e in stage.events() if e.route == "egress" and e.verdict == "allow"}
    assert all(e.decision in decided for e in stage.events() if e.type == "result")


@cell("review", "request")
async def test_what_passes_without_a_human_can_be_looked_at_afterwards(stage):
    async with stage.http() as http:
        assert (await http.get(stage.url(READ, "/public/review"))).status_code == 200
    assert (await stage.recorded("", method="GET", name=f"{READ}:{stage.tls}")).review


@cell("approval", "request")
async def test_a_held_request_goes_once_when_a_human_approved_exactly_it(stage):
    async with stage.http("wary") as http:
        sent = {"content": "write to ada@shop.example"}

        def asked():
            return sum(b"ada@shop" in one[4] for one in stage.hosts.seen)

        held = await http.post(stage.url(READ), **sent)
        assert code_in(held.text) == "PC3040"
        event = await stage.recorded("PC3040", verdict="hold", principal="wary")
        await stage.gate.services.approvals("test").approve(operator(), event.approval, "a test")
        other = await http.post(stage.url(READ), content="write to ada@shop.example, and more")
        assert code_in(other.text) == "PC3040"
        assert asked() == 0
        assert (await http.post(stage.url(READ), **sent)).status_code == 200
        assert code_in((await http.post(stage.url(READ), **sent)).text) == "PC3040"
        assert asked() == 1
