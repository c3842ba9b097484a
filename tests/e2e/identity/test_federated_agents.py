"""If these fail, an agent of another trust domain is kept out, or comes in as somebody else."""

import asyncio
import contextlib
import ssl
import time

import aiohttp
import httpx2
import openai
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

import standins
from domains import Domain
from e2e.matrix.cells import until
from e2e.matrix.deployment import operator
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind
from portcullis.wire.certificates import load_identity, pem

pytestmark = pytest.mark.anyio
PARTNER = "partner.example"
ABROAD = "/ns/shop/sa/courier"
"""As SPIRE names Kubernetes workloads: not a name of ours."""
COURIER = "courier"
CHAT = "/openai/v1/chat/completions"
ASKED = {"model": "gpt-standin", "messages": [{"role": "user", "content": "hi"}]}


def policy():
    text = standins.support_policy()
    role = "  courier:\n    models: [gpt-*]\n    allowed_tools: [kb.search_knowledge_base]\n"
    text = text.replace("\nroles:\n", f"\nroles:\n{role}")
    return text.replace(
        "\nagents:\n", f"\nagents:\n  {COURIER}: {{role: courier, owner: partner}}\n"
    )


class Scene:
    """A gate that federates with a partner, whose authority is the test's own."""

    def __init__(self, stage, partner, folder):
        self.stage, self.partner, self.folder = stage, partner, folder
        self.gate = stage.gate
        self.trust = stage.gate.domain.trust

    def tls(self, domain, path):
        """A client's context: it shows an SVID of ``domain`` and trusts this gate."""
        made = ssl.create_default_context(cadata=pem(self.gate.domain.authority.bundle().x509))
        load_identity(made, *domain.identity(path))
        return made

    def http(self, domain, path=ABROAD):
        return httpx2.AsyncClient(verify=self.tls(domain, path), timeout=20)

    @contextlib.asynccontextmanager
    async def mcp(self, server, domain, path=ABROAD):
        async with (
            self.http(domain, path) as http,
            Client(
                streamable_http_client(f"{self.gate.mtls_url}/mcp/{server}", http_client=http)
            ) as client,
        ):
            yield client

    async def say(self, domain, path=ABROAD):
        """One chat over a connection of its own: an answer, or what the client raised."""
        async with self.http(domain, path) as http:
            model = openai.AsyncOpenAI(
                base_url=f"{self.gate.mtls_url}/openai/v1",
                api_key="spiffe",
                max_retries=0,
                http_client=http,
            )
            return (await model.chat.completions.create(**ASKED)).choices[0].message.content

    async def refused(self, domain, path, code):
        """Neither it nor anything of it comes through, and that is on record."""
        before = len(self.stage.model.seen)
        with pytest.raises(openai.APIError):
            await self.say(domain, path)
        assert len(self.stage.model.seen) == before
        return await standins.eventually(self.stage, lambda event: event.code == code)

    async def register(self, name, spiffe_id):
        principals, kind = self.gate.services.principals("test"), PrincipalKind.AGENT
        await principals.create(operator(), kind, name, owner="partner", spiffe_id=spiffe_id)
        await until(lambda: self.gate.services.feed.named(spiffe_id))

    async def change(self, verb):
        principals = self.gate.services.principals("test")
        await principals.change(operator(), PrincipalKind.AGENT, COURIER, verb)


@pytest.fixture
async def scene(tmp_path):
    partner = Domain(PARTNER, tmp_path / "partner")
    bundle = tmp_path / "partner.json"
    bundle.write_bytes(partner.document())
    settings = {
        "identity": {"federation": {PARTNER: {"file": str(bundle)}}},
        "tokens": {"bearer": "never"},
    }
    async with standins.staged(tmp_path, policy=policy(), settings=settings) as stage:
        made = Scene(stage, partner, tmp_path)
        await made.register(COURIER, f"spiffe://{PARTNER}{ABROAD}")
        yield made


async def test_it_comes_in_as_the_agent_that_is_registered_for_its_spiffe_id(scene):
    assert await scene.say(scene.partner)
    event = await standins.eventually(scene.stage, lambda event: event.type == "llm_call")
    assert (event.principal_kind, event.principal) == ("agent", COURIER)
    assert event.credential.startswith("svid:")


async def test_policy_applies_to_it_as_to_any_other(scene):
    async with scene.mcp("kb", scene.partner) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {
            "search_knowledge_base"
        }
        found = await client.call_tool("search_knowledge_base", {"query": "returns"})
        assert not found.is_error
        with pytest.raises(MCPError) as denied:
            await client.call_tool("search_products", {"query": "lamp"})
    assert denied.value.error.data["code"] == "PC3001"
    event = await standins.eventually(scene.stage, lambda event: event.code == "PC3001")
    assert event.principal == COURIER


async def test_it_gets_tokens_that_are_bound_to_its_svid(scene):
    async with scene.http(scene.partner) as http, scene.http(scene.partner) as another:
        form = {"grant_type": "client_credentials", "scope": "model:gpt-standin"}
        given = await http.post(f"{scene.gate.mtls_url}/v1/token", data=form)
        headers = {"authorization": f"Bearer {given.json()['access_token']}"}
        url = scene.gate.mtls_url + CHAT
        assert (await http.post(url, json=ASKED, headers=headers)).status_code == 200
        stolen = await another.post(url, json=ASKED, headers=headers)
        assert (stolen.status_code, stolen.json()["error"]["code"]) == (401, "PC2041")


async def test_its_svid_is_renewed_at_home_and_not_here(scene):
    async with scene.http(scene.partner) as http:
        answer = await http.post(f"{scene.gate.mtls_url}/v1/svid", json={"csr": "x"})
    assert answer.status_code >= 400
    assert answer.json()["code"] in {"PC2027", "PC2063"}


async def test_a_foreign_svid_that_nobody_registered_is_nobody(scene):
    """Not even when its path is that of one of our agents."""
    await scene.stage.register(PrincipalKind.AGENT, standins.AGENT)
    for path in (
        "/ns/shop/sa/other",
        f"{ABROAD}/x",
        f"/agent/{COURIER}",
        f"/agent/{standins.AGENT}",
    ):
        event = await scene.refused(scene.partner, path, "PC2007")
        assert event.principal == ""


async def test_the_other_domain_cannot_vouch_for_ours_nor_a_third(scene):
    own = scene.gate.domain.authority.trust_domain
    await scene.stage.register(PrincipalKind.AGENT, standins.AGENT)
    # the partner's own authority, whose bundle we have, signs a certificate in our name
    masked = Domain(own, scene.folder / "masked")
    document = masked.authority.bundle()
    scene.trust.put(
        type(document)(
            trust_domain="third.example",
            x509=document.x509,
            jwt={},
            sequence=1,
            refresh_hint=300,
        )
    )
    event = await scene.refused(masked, f"/agent/{standins.AGENT}", "PC2027")
    assert event.verdict == "deny"
    # and in the partner's: it is no authority of the partner's either
    posing = Domain(PARTNER, scene.folder / "posing")
    await scene.refused(posing, ABROAD, "PC2021")
    assert await scene.say(scene.partner)


async def test_revocation_cuts_it_off_in_mid_stream_and_for_good(scene):
    body = ASKED | {"model": "gpt-standin:stall", "stream": True}
    connector = aiohttp.TCPConnector(ssl=scene.tls(scene.partner, ABROAD))
    async with aiohttp.ClientSession(connector=connector) as http:
        answer = await http.post(scene.gate.mtls_url + CHAT, json=body)
        assert await answer.content.readany()
        began = time.monotonic()
        await scene.change(Verb.REVOKE)
        said = b""
        with contextlib.suppress(aiohttp.ClientError):
            said = await asyncio.wait_for(answer.content.read(), 3)
        assert time.monotonic() - began < 2
        assert b"[DONE]" not in said
    cut = await standins.eventually(
        scene.stage, lambda event: event.type == "llm_result" and event.code == "PC4001"
    )
    assert cut.principal == COURIER
    await scene.refused(scene.partner, ABROAD, "PC4001")


async def test_when_the_federation_ends_so_do_its_connections(scene):
    async with scene.http(scene.partner) as http:
        url = scene.gate.mtls_url + CHAT
        assert (await http.post(url, json=ASKED)).status_code == 200
        scene.trust.remove(PARTNER)
        await asyncio.sleep(0.05)
        with pytest.raises(httpx2.TransportError):
            await http.post(url, json=ASKED)
    await scene.refused(scene.partner, ABROAD, "PC2021")
