"""Clients against the real gate. If these fail, agents lose work when certificates rotate."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import time

import aiohttp
import anthropic
import httpx2
import openai
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

import standins
from client_gate import until
from portcullis import client
from portcullis.client.aiohttp import session
from portcullis.client.connector import Connector
from portcullis.client.httpx import Transport
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import Verb
from portcullis.core.ports import Entry
from portcullis.core.principal import Principal, PrincipalKind

pytestmark = pytest.mark.anyio

AGENT = standins.AGENT
MESSAGES = [{"role": "user", "content": "hello"}]
LISTEN = dict.fromkeys(("gate", "control", "mtls", "bootstrap"), "127.0.0.1:0")


class Scene:
    """A real gate whose agent has certificates for two seconds."""

    def __init__(self, stage, folder):
        self.stage = stage
        self.folder = folder
        self.gate = stage.gate
        self.services = stage.gate.services

    @property
    def url(self):
        return self.gate.mtls_url

    def entry(self, *selectors, ttl=2):
        entry = Entry(
            id=secrets.token_hex(16),
            kind=PrincipalKind.AGENT,
            principal=AGENT,
            selectors=selectors,
            ttl_seconds=ttl,
            created_at=time.time(),
        )
        self.services.registrations.add(entry)

    def join(self, name=AGENT):
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).digest()
        until_when = time.time() + 60
        self.services.registrations.join(digest, PrincipalKind.AGENT, name, until_when)
        return token

    def enrolled(self, **options):
        how = {"gate": self.url, "join_token": self.join()} | options
        return client.enrolled(self.gate.gate_url, **how)

    async def change(self, verb):
        principals = self.services.principals("control")
        await principals.change(self.operator(), PrincipalKind.AGENT, AGENT, verb)

    async def rotate(self):
        principals = self.services.principals("control")
        await principals.rotate(self.operator(), PrincipalKind.AGENT, AGENT)

    def operator(self):
        ada = Principal(
            kind=PrincipalKind.OPERATOR,
            id="local-ada",
            credential="local",
            expires_at=time.time() + 60,
            roles=("admin",),
        )
        return Context(
            principal=ada,
            session=None,
            source="local",
            trace_id=secrets.token_hex(16),
            received_at=time.time(),
        )


@pytest.fixture
async def scene(tmp_path):
    settings = {
        "listen": LISTEN | {"workload": "w.sock"},
        "identity": {"svid_ttl_seconds": 20},
        "tokens": {"bearer": "loopback", "ttl_seconds": 60},
    }
    async with standins.staged(tmp_path, settings=settings) as stage:
        await stage.register(PrincipalKind.AGENT, AGENT)
        yield Scene(stage, tmp_path)


async def work_openai(base, http=None, key="spiffe"):
    async with contextlib.AsyncExitStack() as stack:
        http = http or await stack.enter_async_context(httpx2.AsyncClient(timeout=20))
        model = openai.AsyncOpenAI(
            base_url=f"{base}/openai/v1", api_key=key, max_retries=0, http_client=http
        )
        said = await model.chat.completions.create(model="gpt-standin", messages=MESSAGES)
        assert said.choices[0].message.content
        parts = await model.chat.completions.create(
            model="gpt-standin", messages=MESSAGES, stream=True
        )
        assert [part async for part in parts]


async def work_mcp(base, http=None, **options):
    async with Client(
        streamable_http_client(f"{base}/mcp/orders", http_client=http), **options
    ) as tools:
        assert (await tools.list_tools()).tools


async def under_load(*jobs, seconds):
    """Each job over and over for so long; how often each was done. Any failure fails."""
    end = time.monotonic() + seconds
    done = [0] * len(jobs)

    async def repeat(number, job):
        while time.monotonic() < end:
            await job()
            done[number] += 1

    async with asyncio.TaskGroup() as group:
        for number, job in enumerate(jobs):
            group.create_task(repeat(number, job))
    return done


async def test_unmodified_clients_work_through_the_connector_over_several_rotations(scene):
    """openai, anthropic and mcp, with certificates that live for six seconds."""
    scene.entry("unix:uid:4242", ttl=6)
    serials = set()
    token = await standins.session_token(scene.stage)
    async with scene.enrolled() as identity:
        connector = Connector(client.Gate(scene.url, identity))
        async with connector.listening("127.0.0.1:0") as base:

            async def chat():
                serials.add(identity.current.serial)
                await work_openai(base)

            async def ask_claude():
                async with anthropic.AsyncAnthropic(
                    base_url=f"{base}/anthropic", api_key="none", max_retries=0
                ) as claude:
                    await claude.messages.create(
                        model="claude-standin", max_tokens=50, messages=MESSAGES
                    )

            async def in_session():
                await work_openai(base, key=token)

            done = await under_load(
                chat, ask_claude, in_session, lambda: work_mcp(base), seconds=12
            )
    assert all(times > 2 for times in done)
    assert len(serials) >= 4


async def test_the_transports_work_over_several_rotations(scene):
    scene.entry("unix:uid:4242", ttl=6)
    serials = set()
    async with scene.enrolled() as identity:
        gate = client.Gate(scene.url, identity)
        async with (
            httpx2.AsyncClient(transport=Transport(gate), timeout=20) as http,
            session(gate) as other,
        ):

            async def chat():
                serials.add(identity.current.serial)
                await work_openai(scene.url, http)

            async def plain():
                body = {"model": "gpt-standin", "messages": MESSAGES}
                url = f"{scene.url}/openai/v1/chat/completions"
                async with other.post(url, json=body) as answer:
                    assert answer.status == 200, await answer.text()

            done = await under_load(chat, plain, lambda: work_mcp(scene.url, http), seconds=12)
    assert all(times > 2 for times in done)
    assert len(serials) >= 4


async def test_every_action_leads_back_to_the_certificate_that_it_was_made_under(scene):
    async with scene.enrolled() as identity:
        gate = client.Gate(scene.url, identity)
        async with httpx2.AsyncClient(transport=Transport(gate), timeout=20) as http:
            await work_openai(scene.url, http)
        serial = identity.current.serial
    issued = await standins.eventually(
        scene.stage, lambda event: (event.method, event.principal_kind) == ("svid.issue", "agent")
    )
    assert issued.credential == f"svid:{serial}"
    assert issued.parameters["attestor"] == "join_token"
    call = await standins.eventually(scene.stage, lambda event: event.type == "llm_call")
    token = await standins.eventually(
        scene.stage,
        lambda event: event.type == "identity" and event.credential == call.credential,
    )
    assert issued.parameters["thumbprint"] in token.parameters["binding"]


async def test_a_sessions_token_acts_in_its_session_and_only_for_its_agent(scene):
    token = await standins.session_token(scene.stage)
    async with scene.enrolled() as identity:
        gate = client.Gate(scene.url, identity)
        transport = Transport(gate, delegation=token)
        async with httpx2.AsyncClient(transport=transport, timeout=20) as http:
            await work_openai(scene.url, http)
    event = await standins.eventually(scene.stage, lambda event: event.type == "llm_call")
    assert event.session
    await scene.stage.register(PrincipalKind.AGENT, "another")
    async with scene.enrolled(join_token=scene.join("another")) as identity:
        gate = client.Gate(scene.url, identity)
        with pytest.raises(Problem, match="PC2051"):
            await gate.link().grant("GET", scene.url, token)


async def test_a_join_token_is_good_once_and_its_second_use_is_recorded(scene):
    token = scene.join()
    async with scene.enrolled(join_token=token):
        pass
    with pytest.raises(Problem, match="PC2061"):
        async with scene.enrolled(join_token=token):
            pass
    await standins.eventually(scene.stage, lambda event: event.code == "PC2061")


async def test_enrolment_at_the_bootstrap_listener_needs_the_bundle_and_nothing_else(scene):
    bundle = scene.folder / "bundle.json"
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{scene.gate.gate_url}/v1/bundle") as answer,
    ):
        bundle.write_bytes(await answer.read())
    identity = client.enrolled(
        scene.gate.urls["bootstrap"], gate=scene.url, join_token=scene.join(), ca=bundle
    )
    async with identity:
        assert identity.current.id.path == f"/agent/{AGENT}"


async def test_revocation_ends_the_connector(scene):
    async with scene.enrolled() as identity:
        gate = client.Gate(scene.url, identity)
        connector = Connector(gate)
        async with connector.listening("127.0.0.1:0") as base:
            running = asyncio.create_task(connector.run())
            await work_openai(base)
            await scene.change(Verb.REVOKE)
            with pytest.raises(openai.APIStatusError):
                await work_openai(base)
            async with asyncio.timeout(8):
                assert (await running).code in {"PC4001", "PC7013"}


async def test_revocation_ends_a_stream_that_runs_through_the_connector(scene):
    body = {"model": "gpt-standin:stall", "messages": MESSAGES, "stream": True}
    async with scene.enrolled() as identity:
        connector = Connector(client.Gate(scene.url, identity))
        async with (
            connector.listening("127.0.0.1:0") as base,
            aiohttp.ClientSession() as http,
            http.post(f"{base}/openai/v1/chat/completions", json=body) as answer,
        ):
            assert await answer.content.readany()
            await scene.change(Verb.REVOKE)
            said = b""
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async with asyncio.timeout(2):
                    said = await answer.content.read()
            assert b"[DONE]" not in said


async def test_an_idle_connector_learns_of_a_revocation_at_its_next_renewal(scene):
    scene.entry("unix:uid:4242")
    async with scene.enrolled() as identity:
        gate = client.Gate(scene.url, identity)
        await scene.change(Verb.REVOKE)
        await until(lambda: identity.failure is not None)
        assert identity.failure.code == "PC7013"
        with pytest.raises(Problem, match="PC7013"):
            await gate.ready()


async def test_a_rotation_makes_stolen_certificates_worthless_and_renews_none(scene):
    async with scene.enrolled() as identity:
        gate = client.Gate(scene.url, identity)
        await gate.ready()
        await scene.rotate()
        with pytest.raises(Problem, match="PC7013"):
            await identity._renewed(identity.current)
        waiting = asyncio.create_task(gate.cut_off())
        await asyncio.sleep(0)
        gate.doubt()
        async with asyncio.timeout(8):
            assert (await waiting).code == "PC7013"


async def test_authorities_change_under_load_without_a_failed_request(scene):
    scene.entry("unix:uid:4242")
    async with scene.enrolled() as identity:
        gate = client.Gate(scene.url, identity)
        async with httpx2.AsyncClient(transport=Transport(gate), timeout=20) as http:

            async def rotate():
                await asyncio.sleep(2)
                await asyncio.to_thread(scene.gate.domain.authority.rotate, "signing")

            rotating = asyncio.create_task(rotate())
            (times,) = await under_load(lambda: work_openai(scene.url, http), seconds=4)
            await rotating
            assert times > 2
            await asyncio.to_thread(scene.gate.domain.authority.rotate, "root")
            await until(lambda: len(identity.current.roots) == 2)
            await work_openai(scene.url, http)


async def test_the_workload_api_is_an_identity_without_any_secret(scene):
    scene.entry(f"unix:uid:{os.geteuid()}")
    serials = set()
    async with client.workload(scene.gate.workload) as identity:
        gate = client.Gate(scene.url, identity)
        async with httpx2.AsyncClient(transport=Transport(gate), timeout=20) as http:

            async def chat():
                serials.add(identity.current.serial)
                await work_openai(scene.url, http)

            await under_load(chat, seconds=4)
    assert len(serials) >= 3


async def test_a_rotation_of_the_credentials_reaches_workloads_and_the_connector_goes_on(scene):
    scene.entry(f"unix:uid:{os.geteuid()}", ttl=600)
    async with client.workload(scene.gate.workload) as identity:
        connector = Connector(client.Gate(scene.url, identity))
        async with connector.listening("127.0.0.1:0") as base:
            running = asyncio.create_task(connector.run())
            await work_openai(base)
            first = identity.current
            await scene.rotate()
            await until(lambda: identity.current is not first)
            await work_openai(base)
            await asyncio.sleep(0.3)
            assert not running.done()
            running.cancel()


async def test_on_plain_loopback_a_key_in_memory_takes_the_certificates_place(scene):
    scene.entry(f"unix:uid:{os.geteuid()}", ttl=600)
    audience = f"spiffe://{scene.stage.gate.domain.authority.trust_domain}/gateway/gate"
    async with client.workload(scene.gate.workload) as identity:
        plain = scene.gate.gate_url
        gate = client.LocalGate(plain, identity, audience=audience)
        async with httpx2.AsyncClient(transport=Transport(gate), timeout=20) as http:
            await work_openai(plain, http)
            await work_openai(plain, http, key=await standins.session_token(scene.stage))
