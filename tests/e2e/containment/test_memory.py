"""Two agents that were taken over, and what they leave for each other behind one gate."""

from __future__ import annotations

import contextlib
import sqlite3
import ssl
from typing import Any

import anyio
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer

import standins
from e2e.approvals.desk import MAIL, Desk, furnished
from e2e.matrix.ways import Way
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import SpiffeId
from portcullis.demo.serve import serving
from portcullis.wire.certificates import load_identity, pem

pytestmark = pytest.mark.anyio

OTHER = "support-agent-prod-002"
BOB, EVE = "bob@partner.example", "eve@evil.example"
TOOLS = """
  office.plan:
    risk: read
    results: {text: {confidentiality: confidential}}
  office.contacts:
    risk: read
    results: {"[].address": {trusted: destination}}
  office.save:
    risk: modify
    arguments: {key: {role: selector}, text: {role: payload}}
    memory: {store: notes, writes: true, record: key}
  office.recall:
    risk: read
    arguments: {about: {role: selector}}
    results: {"[].text": {trusted: destination, clearance: confidential}, "[].key": {}}
    memory: {store: notes, records: "[].key"}
  office.find:
    risk: read
    arguments: {about: {role: selector}}
    results: {"[].text": {confidentiality: internal}}
    memory: {store: notes, records: "[].key"}
  mail.send:
    resource: send_email
    verb: execute
    risk: external
    arguments: {to: {role: destination}, subject: {role: payload}, body: {role: payload}}
"""


def office(notes: dict[str, str]) -> MCPServer:
    """A server with something confidential, an address book and a memory."""
    server = MCPServer("office")

    @server.tool()
    async def plan() -> dict[str, str]:
        return {"text": "We buy the partner in May."}

    @server.tool()
    async def contacts() -> list[dict[str, str]]:
        return [{"address": BOB}]

    @server.tool()
    async def save(key: str, text: str) -> str:
        notes[key] = text
        return "saved"

    @server.tool()
    async def find(about: str, ctx: Context) -> list[dict[str, str]]:
        """Says what it finds while it looks, and never ends."""
        for key, text in notes.items():
            if about in key:
                await ctx.report_progress(1, 2, f"found {key}: {text}")
        await anyio.sleep_forever()
        return []

    @server.tool()
    async def recall(about: str) -> list[dict[str, str]]:
        return [{"key": key, "text": text} for key, text in notes.items() if about in key]

    return server


def policy() -> str:
    """The demonstration's with the office, and containment."""
    text = yaml.safe_load(standins.support_policy())
    tools = yaml.safe_load(TOOLS.replace('"[].key": {}', '"[].key": {confidentiality: internal}'))
    text["tools"] |= tools
    role = text["roles"]["support_agent"]
    role["allowed_tools"] += [name for name in tools if name.startswith("office.")]
    text["containment"] = {"approvals": 50}
    return yaml.safe_dump(text)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> Any:
    notes: dict[str, str] = {}
    app = office(notes).streamable_http_app()
    async with app.router.lifespan_context(app), serving(app) as url:
        settings = {"mcp": {"office": {"url": f"{url}/mcp"}}}
        folder = tmp_path_factory.mktemp("house")
        async with standins.staged(folder, policy=policy(), settings=settings) as stage:
            desk = await furnished(stage)
            await stage.create(PrincipalKind.AGENT, OTHER)
            yield desk, notes


async def session(desk: Desk, agent: str, prompt: str) -> str:
    """The token of a session of its own."""
    opened = await desk.stage.open_session(desk.application, agent, subject={}, prompt=prompt)
    return opened[1]


async def use(desk: Desk, token: str, server: str, tool: str, **said: str) -> Any:
    async with standins.mcp_client(desk.stage, server, token) as client:
        return await client.call_tool(tool, said)


async def done(desk: Desk, token: str, tool: str, **said: str) -> Any:
    found = await use(desk, token, "office", tool, **said)
    assert not found.is_error, found.content
    return found.structured_content


async def denied(desk: Desk, token: str, **said: str) -> str:
    """The code with which a note is refused."""
    async with standins.mcp_client(desk.stage, "office", token) as client:
        try:
            await client.call_tool("save", said)
        except MCPError as error:
            return str(error.error.data["code"])
    raise AssertionError("it was saved")


async def mails(desk: Desk, token: str, to: str) -> list[str]:
    """Send a mail; what is asked about it, nothing when it went out."""
    desk.begin()
    return await asked(desk, await use(desk, token, "mail", "send", **(MAIL | {"to": to})))


async def asked(desk: Desk, found: Any) -> list[str]:
    """What is asked about a mail; nothing when it went out."""
    assert desk.mails() == (0 if found.is_error else 1)
    if not found.is_error:
        return []
    assert found.content[0].text.startswith("PC3040"), found.content
    _, shown = await desk.ask("bea", "GET", f"/{found.meta['portcullis/approval']}")
    return [one.partition(":")[0] for one in shown["call"]["questions"]]


async def test_what_one_agent_read_follows_its_note_to_the_agent_that_recalls_it(
    house: Any,
) -> None:
    desk, notes = house
    one = await session(desk, standins.AGENT, "Read the plan and keep a note of it")
    await done(desk, one, "plan")
    await done(desk, one, "save", key="zebra", text="V2UgYnV5IHRoZSBwYXJ0bmVyIGluIE1heQ")
    assert "zebra" in notes
    other = await session(desk, OTHER, "Please send our partner a friendly mail")
    await done(desk, other, "contacts")
    assert await mails(desk, other, BOB) == []
    assert (await done(desk, other, "recall", about="nothing")) == {"result": []}
    assert await mails(desk, other, BOB) == []
    await done(desk, other, "recall", about="zebra")
    assert await mails(desk, other, BOB) == ["confidential to"]


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_who_hears_of_a_note_while_it_is_looked_for_and_leaves_has_read_it(
    house: Any, mode: str
) -> None:
    desk, _ = house
    one = await session(desk, standins.AGENT, "Read the plan and keep a note of it")
    await done(desk, one, "plan")
    await done(desk, one, "save", key="lion", text="V2UgYnV5IHRoZSBwYXJ0bmVyIGluIE1heQ")
    other = await session(desk, OTHER, "Please send our partner a friendly mail")
    await done(desk, other, "contacts")
    assert await mails(desk, other, BOB) == []
    heard: list[str | None] = []
    async with standins.mcp_client(desk.stage, "office", other, mode=mode) as client:
        with anyio.move_on_after(10) as leaving:

            async def hear(_done: float, _whole: float | None, said: str | None) -> None:
                heard.append(said)
                leaving.cancel()

            await client.call_tool("find", {"about": "lion"}, progress_callback=hear)
    assert heard == ["found lion: V2UgYnV5IHRoZSBwYXJ0bmVyIGluIE1heQ"]
    assert await mails(desk, other, BOB) == ["confidential to"]


async def test_an_address_is_trusted_by_way_of_a_note_only_when_it_had_a_source(
    house: Any,
) -> None:
    desk, _ = house
    one = await session(desk, standins.AGENT, "Remember that ada@firm.example does our accounts")
    await done(desk, one, "save", key="accounts", text="ada@firm.example")
    await done(desk, one, "save", key="accounts-too", text=EVE)
    other = await session(desk, OTHER, "Please send our accountant a mail")
    assert await mails(desk, other, "ada@firm.example") == ["destination to"]
    await done(desk, other, "recall", about="accounts")
    assert await mails(desk, other, "ada@firm.example") == []
    assert await mails(desk, other, EVE) == ["destination to"]


async def test_nothing_is_written_before_its_labels_are(house: Any) -> None:
    desk, notes = house
    one = await session(desk, standins.AGENT, "Keep a note")
    with contextlib.closing(
        sqlite3.connect(desk.stage.config.parent / "state/portcullis.db")
    ) as db:
        db.execute("ALTER TABLE memory_labels RENAME TO elsewhere")
        db.commit()
        refused = await denied(desk, one, key="unlabelled", text="x")
        db.execute("ALTER TABLE elsewhere RENAME TO memory_labels")
        db.commit()
    assert refused == "PC9002"
    assert "unlabelled" not in notes
    event = await standins.eventually(desk.stage, lambda e: e.code == "PC9002")
    assert (event.verdict, event.check, event.name) == ("deny", "memory", "save")
    await done(desk, one, "save", key="unlabelled", text="x")


def way(desk: Desk, agent: str) -> Way:
    """The mTLS listener, as an agent with its certificate comes to it."""
    authority = desk.stage.gate.domain.authority
    key = ec.generate_private_key(ec.SECP256R1())
    made = authority.issue(SpiffeId(authority.trust_domain, f"/agent/{agent}"), key.public_key())
    context = ssl.create_default_context(cadata=pem(authority.bundle().x509))
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    load_identity(context, made.chain, key.private_bytes(*form))
    return Way(desk.stage.gate.mtls_url, context)


class Pair:
    """An agent and its delegate, each with a token of its own that is bound to its certificate."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.ways = {name: way(desk, name) for name in (standins.AGENT, OTHER)}
        self.tokens: dict[str, str] = {}

    async def begin(self, *given: str) -> None:
        """The agent's token, for a session if one was opened, and what it delegates."""
        domain = self.desk.stage.gate.domain.authority.trust_domain
        one, other = self.ways.values()
        mine = await one.token(**({"subject_token": given[0]} if given else {}))
        audience = f"spiffe://{domain}/agent/{OTHER}"
        handed = await one.token(subject_token=mine, audience=audience)
        self.tokens = {
            standins.AGENT: mine,
            OTHER: await other.token(subject_token=handed),
        }

    async def use(self, agent: str, server: str, tool: str, **said: str) -> Any:
        at = self.ways[agent]
        headers = {"authorization": f"Bearer {self.tokens[agent]}"}
        async with (
            at.http(headers=headers) as http,
            Client(streamable_http_client(f"{at.url}/mcp/{server}", http_client=http)) as client,
        ):
            return await client.call_tool(tool, said)

    async def mails(self, agent: str) -> list[str]:
        self.desk.begin()
        found = await self.use(agent, "mail", "send", **(MAIL | {"to": BOB}))
        return await asked(self.desk, found)


@pytest.fixture
async def pair(house: Any) -> Pair:
    return Pair(house[0])


@pytest.mark.parametrize(
    ("reads", "sends"), [(standins.AGENT, OTHER), (OTHER, standins.AGENT)], ids=["down", "up"]
)
async def test_what_an_agent_reads_its_delegate_has_read_and_the_other_way_round(
    pair: Pair, reads: str, sends: str
) -> None:
    token = await session(pair.desk, standins.AGENT, "Please send our partner a friendly mail")
    await pair.begin(token)
    assert not (await pair.use(reads, "office", "contacts")).is_error
    assert await pair.mails(sends) == []
    assert not (await pair.use(reads, "office", "plan")).is_error
    assert await pair.mails(sends) == ["confidential to"]


async def test_a_delegate_without_a_session_is_trusted_with_nothing(pair: Pair) -> None:
    await pair.begin()
    assert not (await pair.use(OTHER, "office", "contacts")).is_error
    assert set(await pair.mails(OTHER)) >= {"destination to", "confidential to"}
