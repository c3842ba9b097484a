"""If these fail, somebody goes out who may not, or goes on when they were cut off."""

import asyncio
import ssl
import time

import pytest

from e2e.egress.asking import cell, connect
from e2e.egress.rules import DENIALS, OPEN, READ
from e2e.egress.stage import Refused, code_in
from e2e.matrix.deployment import operator
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio
AT_ONCE = 3.0
"""Seconds on a machine that does much else; nothing that is measured here waits for a poll."""


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
        async with stage.tunnel("few") as (reader, writer):
            writer.write(b"x")
            assert await asyncio.wait_for(reader.read(-1), 10) == b""  # it has been, and counts
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
