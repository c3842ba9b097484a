"""If these fail, a killed agent has something left: a connection, a credential, a process."""

import asyncio
import contextlib
import copy
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx2
import openai
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from mcp import MCPError

import standins
from authorities import leaf_key
from e2e.identity.test_unregistered import certified
from e2e.matrix.deployment import operator as by_operator
from e2e.matrix.ways import Dpop
from holders import Holder
from portcullis.core.approval import State
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import ours

pytestmark = pytest.mark.anyio
KILLED, OTHER = standins.AGENT, "support-agent-prod-002"
PEER = Path(__file__).parents[1] / "matrix/peer.py"
MAIL = {"to": standins.SUBJECT["email"], "subject": "Hello", "body": "Your parcel is late."}
CHAT = {"model": "gpt-standin", "messages": [{"role": "user", "content": "hello"}]}


def policy():
    text = yaml.safe_load(standins.support_policy())
    text["roles"]["helper"] = copy.deepcopy(text["roles"]["support_agent"])
    text["agents"][OTHER] = {"role": "helper"}
    text["roles"]["support_agent"]["allowed_tools"] += ["files.say"]
    text["roles"]["support_agent"]["inspection"] |= {"to_tool": {"EMAIL_ADDRESS": "hold"}}
    text["tools"] |= {"files.say": {"risk": "read", "arguments": {"text": {"role": "payload"}}}}
    return yaml.safe_dump(text)


@dataclass
class Place:
    """The stage, and the token of an application on it."""

    stage: standins.Stage
    application: str

    def __getattr__(self, name):
        return getattr(self.stage, name)


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def stage(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("kill")
    (folder / "seen").mkdir()
    command = [sys.executable, str(PEER), str(folder / "seen/peer.log")]
    mounts = [f"{PEER.parent}:ro", f"{folder / 'seen'}:rw"]
    settings = {"mcp": {"files": {"command": command, "mounts": mounts}}}
    async with standins.staged(folder, policy=policy(), settings=settings) as made:
        for agent in (KILLED, OTHER):
            await made.register(PrincipalKind.AGENT, agent)
        yield Place(made, await made.register(PrincipalKind.APPLICATION, "helpdesk"))


async def token_of(stage, agent):
    return (await stage.open_session(stage.application, agent, subject=standins.SUBJECT))[1]


def operator(stage):
    authority = stage.gate.services.authority
    return authority.mint(PrincipalKind.OPERATOR, "local-test", ttl=60, roles=("admin",)).token


async def ask(stage, path, **body):
    headers = {"authorization": f"Bearer {operator(stage)}"}
    url = f"{stage.gate.control_url}/api/v1/kills{path}"
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, json=body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


@contextlib.asynccontextmanager
async def killed(stage, scope="agent", value=KILLED):
    target = {"scope": scope, "reason": "test"} | ({} if scope == "all" else {"value": value})
    done = await ask(stage, "", **target)
    try:
        yield done
    finally:
        await ask(stage, "/undo", **target)


async def chat(stage, token):
    """The code of a model call with the official client; empty when it is served."""
    async with standins.openai_client(stage, token) as client:
        try:
            await client.chat.completions.create(**CHAT)
        except openai.APIStatusError as error:
            return error.body["code"]
        return ""


async def said(client, tool, arguments):
    """What a call with the official client says, as its result or its error."""
    try:
        return str(await client.call_tool(tool, arguments))
    except MCPError as error:
        return str(error.error)


async def until(found, seconds=60):
    async with asyncio.timeout(seconds):
        while not found():  # noqa: ASYNC110 - other tasks make it so
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("scope", "value", "spared"),
    [("agent", KILLED, True), ("role", "support_agent", True), ("all", "", False)],
    ids=["agent", "role", "all"],
)
async def test_who_is_in_the_scope_is_refused_and_nobody_else(stage, scope, value, spared):
    mine, other = await token_of(stage, KILLED), await token_of(stage, OTHER)
    async with killed(stage, scope, value):
        assert await chat(stage, mine) == "PC4001"
        assert await chat(stage, other) == ("" if spared else "PC4001")
        if not spared:  # applications too: nobody opens a session
            with pytest.raises(RuntimeError, match="PC4001"):
                await token_of(stage, OTHER)
    assert [await chat(stage, one) for one in (mine, other)] == ["", ""]


async def test_a_stream_is_cut_in_the_middle_and_its_upstream_call_with_it(stage):
    mine, other = await token_of(stage, KILLED), await token_of(stage, OTHER)
    asked = CHAT | {"model": "gpt-standin:stall", "stream": True}

    async def stream(token, seen):
        async with standins.openai_client(stage, token) as client:
            async for piece in await client.chat.completions.create(**asked):
                seen.append(piece)

    pieces, theirs = [], []
    streams = [
        asyncio.ensure_future(stream(token, seen))
        for token, seen in ((mine, pieces), (other, theirs))
    ]
    await until(lambda: pieces and theirs)
    async with killed(stage) as done:
        with pytest.raises(openai.APIError, match="test"):
            await asyncio.wait_for(streams[0], 2)
        assert not streams[1].done()
        (gate,) = done["gateways"]
        assert (gate["gateway"], gate["runs"]) == ("gate", 1)
        assert gate["acknowledged_ms"] < 500
    streams[1].cancel()


async def test_no_credential_is_good_for_anything_and_none_can_be_had(stage):
    domain = stage.gate.domain
    bearer = (await mint(stage)).token
    join = await stage.join_token(PrincipalKind.AGENT, KILLED)
    agent = ours(domain.authority.trust_domain, PrincipalKind.AGENT, KILLED)
    audience = [str(ours(domain.authority.trust_domain, PrincipalKind.GATEWAY, "gate"))]
    assertion = domain.authority.sign_jwt(agent, audience).token
    url = f"{stage.gate.mtls_url}/openai/v1/chat/completions"
    async with certified(stage, PrincipalKind.AGENT, KILLED) as (http, _):
        async with http.post(url, json=CHAT) as served:
            assert served.status == 200
        async with killed(stage) as done:
            assert done["gateways"][0]["connections"] >= 1
            for _ in range(2):  # the open connection is closed, and there is no new one
                with pytest.raises((aiohttp.ClientError, AssertionError)):
                    async with http.post(url, json=CHAT) as refused:
                        assert refused.status == 200
            assert await chat(stage, bearer) == "PC4001"
            for path, asked in (
                ("/v1/svid", {"json": {"csr": request(), "join_token": join}}),
                ("/v1/token", {"data": exchange(assertion), "auth": Dpop(Holder())}),
            ):
                async with httpx2.AsyncClient(timeout=10) as plain:
                    answer = await plain.post(f"{stage.gate.gate_url}{path}", **asked)
                assert answer.status_code >= 400
                assert "PC4001" in answer.text
            with pytest.raises(RuntimeError, match="PC4001"):
                await token_of(stage, KILLED)
            with pytest.raises(Problem, match="PC4001"):
                await mint(stage)


async def test_what_waits_for_a_human_is_cancelled(stage):
    token = await token_of(stage, KILLED)
    async with standins.mcp_client(stage, "mail", token) as client:
        assert "PC3040" in await said(client, "send", MAIL)
        store = stage.gate.services.approval_parts.store
        (waiting,) = store.list([State.PENDING], 9)
        async with killed(stage) as done:
            assert done["cancelled"] == 1
            assert store.get(waiting.id).state is State.CANCELLED
    assert stage.records.count("outbox") == 0


async def test_the_server_process_that_runs_for_it_is_ended(stage):
    token = await token_of(stage, KILLED)
    before = children()
    async with standins.mcp_client(stage, "files", token) as client:
        assert "is_error=False" in await said(client, "say", {"text": "hello"})
        (process,) = children() - before
        async with killed(stage):
            await until(lambda: process not in children())
            assert "PC4001" in await said(client, "say", {"text": "hello"})
            assert children() == before


async def test_a_new_policy_moves_agents_in_and_out_of_a_killed_role(stage):
    token = await token_of(stage, OTHER)
    file = stage.config.parent / "policy/support.yaml"
    text = file.read_text()
    async with killed(stage, "role", "support_agent"):
        assert await chat(stage, token) == ""
        changed = yaml.safe_load(text)
        changed["agents"][OTHER] = {"role": "support_agent"}
        for written, code in ((yaml.safe_dump(changed), "PC4001"), (text, "")):
            file.write_text(written)
            stage.gate.reload_policy()
            async with asyncio.timeout(10):
                while await chat(stage, token) != code:  # noqa: ASYNC110 - a file tells nobody
                    await asyncio.sleep(0.02)


def children():
    """The processes that this one has started."""
    threads = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {child for some in threads for child in some.read_text().split()}


def request():
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return csr.sign(leaf_key(), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def exchange(assertion):
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": assertion,
    }


async def mint(stage):
    principals = stage.gate.services.principals("test")
    return await principals.mint(by_operator(), PrincipalKind.AGENT, KILLED)
