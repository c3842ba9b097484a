"""Each call carries the token of the user it is made for, and nobody's in its place."""

from __future__ import annotations

import asyncio
import base64
import json
from urllib.parse import quote

import httpx2
import openai
import pytest
from typer.testing import CliRunner

from e2e.matrix.deployment import operator
from e2e.on_behalf.peers import CLIENT, Browser
from needles import contents
from needs import needs_node
from portcullis import cli
from portcullis.cli.audit import app as audit
from portcullis.cli.grant import app as grant
from portcullis.core.grants import Holding
from portcullis.core.principal import PrincipalKind
from standins import AGENT, eventually, openai_client

pytestmark = [pytest.mark.anyio, needs_node]


async def connected(world, user: str, **session) -> str:
    """A session of a user who has connected an account."""
    token = await world.session(user, **session)
    async with Browser(user) as browser:
        page = await browser.connect(await world.link(token))
    assert page.status_code == 200, page.text[-600:]
    assert "<h1>Connected</h1>" in page.text
    return token


MODES = [
    pytest.param(
        "auto", marks=pytest.mark.control("on-behalf", "mcp-http", "request"), id="modern"
    ),
    pytest.param(
        "legacy", marks=pytest.mark.control("on-behalf", "mcp-http-legacy", "request"), id="legacy"
    ),
]


@pytest.mark.parametrize("mode", MODES)
async def test_two_users_of_one_agent_each_act_with_their_own_account(world, mode) -> None:
    ada, bob = await connected(world, "ada"), await connected(world, "bob")
    carl = await world.session("carl")
    before = len(world.box.seen)
    assert (await world.call(carl, mode=mode)).startswith("PC5080")
    assert world.box.seen[before:] == []  # nobody's token went out in place of his
    assert await world.call(ada, mode=mode) == "the mail of ada"
    assert await world.call(bob, mode=mode) == "the mail of bob"
    assert await world.call(ada, mode=mode) == "the mail of ada"
    assert {subject for _, subject in world.box.seen[before:]} == {"ada", "bob"}
    calls = [
        event
        for event in world.stage.events()
        if event.type == "tool_result" and event.secrets and event.verdict == "allow"
    ]
    (of_ada,) = {one.secrets for one in calls if one.session == world.ids[ada]}
    (of_bob,) = {one.secrets for one in calls if one.session == world.ids[bob]}
    assert of_ada[0].startswith("oauth:box#grant@")
    assert of_ada != of_bob  # on whose behalf, by the grant: no name stands in the log


async def test_without_a_grant_nothing_else_takes_its_place(world) -> None:
    ada = await connected(world, "ada")
    before = len(world.box.seen)
    elsewhere = await world.session("ada", "rival")  # another application's user of that name
    refusal = await world.call(elsewhere)
    assert refusal.startswith("PC5080")
    assert f"{world.stage.gate.control_url}/connect/box" in refusal
    alone = await world.stage.gate.services.principals("test").mint(
        operator(), PrincipalKind.AGENT, AGENT
    )
    assert (await world.call(alone.token)).startswith("PC5080")  # in no session, for nobody
    assert world.box.seen[before:] == []
    for session in (world.ids[elsewhere], ""):  # what failed is on record a moment later
        await eventually(world.stage, lambda e, own=session: (e.code, e.session) == ("PC5080", own))
    assert await world.call(ada) == "the mail of ada"


async def test_an_id_token_is_exchanged_for_its_own_user(world) -> None:
    shown = await world.authority.id_token("dora")
    dora = await world.session("", user_token=shown)
    assert await world.call(dora, "swap") == "the mail of dora"
    ada = await world.session("ada")
    assert (await world.call(ada, "swap")).startswith("PC5080")
    assert await world.call(ada, "own") == f"the mail of client:{CLIENT}"


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(
            False, marks=pytest.mark.control("on-behalf", "llm-json", "request"), id="json"
        ),
        pytest.param(
            True, marks=pytest.mark.control("on-behalf", "llm-stream", "request"), id="stream"
        ),
    ],
)
async def test_a_model_that_knows_its_users_is_asked_by_each_as_himself(world, stream) -> None:
    mia = await world.session("", user_token=await world.authority.id_token("mia"))
    asked = {
        "model": "probe-standin",
        "stream": stream,
        "messages": [{"role": "user", "content": "Good morning"}],
    }
    before = len(world.box.seen)
    async with openai_client(world.stage, mia) as client:
        said = await client.chat.completions.create(**asked)
        if stream:
            said = [chunk async for chunk in said]
    assert said
    assert {subject for _, subject in world.box.seen[before:]} == {"mia"}
    nobody = await world.session("mia")  # whose application did not show that she is
    async with openai_client(world.stage, nobody) as client:
        with pytest.raises(openai.PermissionDeniedError, match="PC5080"):
            await client.chat.completions.create(**asked)
    assert {subject for _, subject in world.box.seen[before:]} == {"mia"}


async def test_a_link_is_good_once_in_one_browser_and_for_its_own_answer(world) -> None:
    eve = await world.session("eve")
    link = await world.link(eve)
    place = link.partition("?")[0]
    async with Browser("eve") as browser, Browser("mallory") as other:
        to = await browser.begin(link)
        assert to.startswith(f"{world.authority.issuer}/auth?")
        asked = dict(httpx2.URL(to).params)
        assert asked["code_challenge_method"] == "S256"
        assert asked["resource"] == world.box.url
        assert asked["redirect_uri"] == f"{place}/callback"
        again = await other.http.get(link)  # used up by the first
        assert (again.status_code, "PC5084" in again.text) == (400, True)
        back = await browser.consent(to, f"{place}/callback")
        stolen = await other.http.get(back)  # what came back, in another browser
        assert "PC5084" in stolen.text
        await other.begin(await world.link(await world.session("mallory")))
        stolen = await other.http.get(back)  # and in one that began something of its own
        assert "PC5084" in stolen.text
        late = await browser.http.get(back)  # that used the answer up
        assert "PC5084" in late.text
    assert (await world.call(eve)).startswith("PC5080")

    async with Browser("eve") as browser:
        to = await browser.begin(await world.link(eve))
        back = httpx2.URL(await browser.consent(to, f"{place}/callback"))
        mixed = back.copy_set_param("iss", "https://other.example")
        assert "PC5084" in (await browser.http.get(str(mixed))).text
    async with Browser("eve") as browser:
        refused = await browser.connect(await world.link(eve), says="no")
        assert "access_denied" in refused.text
    assert (await world.call(eve)).startswith("PC5080")
    async with httpx2.AsyncClient(headers={"origin": "https://evil.example"}) as http:
        assert "PC2081" in (await http.post(place, data={"once": "x"})).text


async def test_a_user_known_to_the_server_connects_no_other_account(world) -> None:
    """The session is for corp:fay, whom the same server vouched for: bob's account is not hers."""
    fay = await world.session("", user_token=await world.authority.id_token("fay"))
    async with Browser("bob") as browser:
        page = await browser.connect(await world.link(fay))
    assert "PC5085" in page.text
    async with Browser("fay") as browser:
        assert "<h1>Connected</h1>" in (await browser.connect(await world.link(fay))).text
    assert await world.call(fay) == "the mail of fay"


async def test_a_token_that_was_taken_back_is_replaced_and_a_stolen_grant_ends(world) -> None:
    gil = await connected(world, "gil")
    assert await world.call(gil) == "the mail of gil"
    world.box.refused |= {token for token, _ in world.box.seen}
    assert await world.call(gil) == "the mail of gil"  # by a new one, made at once

    grants = world.stage.gate.services.grants
    holding = Holding(upstream="box", application="helpdesk", user="gil")
    _, token = await asyncio.to_thread(grants.find, holding)
    async with httpx2.AsyncClient() as http:  # a thief uses the refresh token first
        form = {"grant_type": "refresh_token", "refresh_token": token.reveal()}
        answer = await http.post(
            f"{world.authority.issuer}/token", data=form, auth=(CLIENT, world.authority.secret)
        )
        assert answer.status_code == 200
    world.box.refused |= {token for token, _ in world.box.seen}
    assert (await world.call(gil)).startswith("PC5080")
    (lost,) = world.events("grants.lost")
    assert lost.parameters["error"] == "invalid_grant"
    assert await asyncio.to_thread(grants.find, holding) is None


async def test_what_is_revoked_serves_nobody_here_nor_there(world) -> None:
    ida, jon = await connected(world, "ida"), await connected(world, "jon")
    assert await world.call(ida) == "the mail of ida"
    _, token = await asyncio.to_thread(
        world.stage.gate.services.grants.find,
        Holding(upstream="box", application="helpdesk", user="ida"),
    )
    config = ["--config", str(world.stage.config)]
    listed = await run(grant, "list", "--user", "ida", "--json", *config)
    (one,) = map(json.loads, listed.splitlines())
    assert (one["user"], one["account"], one["application"]) == ("ida", "ida", "helpdesk")
    said = await run(grant, "revoke", "--user", "ida", "--reason", "she left", *config)
    assert said == f"revoked {one['id']}\n"
    assert (await world.call(ida)).startswith("PC5080")
    assert (await world.authority.introspect(token.reveal()))["active"] is False

    async with world.api() as http:
        place = f"/v1/sessions/{world.ids[jon]}/connections"
        assert {"upstream": "box", "connected": True} in [
            {name: one[name] for name in ("upstream", "connected")}
            for one in (await http.get(place)).json()["connections"]
        ]
        done = await http.delete(f"{place}/box")
        assert done.json()["server_told"] is True
    assert (await world.call(jon)).startswith("PC5080")
    assert {e.principal_kind for e in world.events("grants.revoke")} == {"operator", "application"}


async def test_an_erased_user_has_granted_nothing(world) -> None:
    kim = await connected(world, "kim")
    assert await world.call(kim) == "the mail of kim"
    config = ["--config", str(world.stage.config)]
    await run(audit, "erase", "--subject", "user:kim", "--reason", "as asked", *config)
    assert (await world.call(kim)).startswith("PC5080")
    assert await run(grant, "list", "--user", "kim", "--json", *config) == ""


async def test_no_token_is_anywhere_but_on_its_way(world) -> None:
    lea = await connected(world, "lea")
    assert await world.call(lea) == "the mail of lea"
    withheld = await world.call(lea, tool="leak")
    assert withheld.startswith("PC5005")
    _, refresh = await asyncio.to_thread(
        world.stage.gate.services.grants.find,
        Holding(upstream="box", application="helpdesk", user="lea"),
    )
    tokens = {token for token, _ in world.box.seen} | {refresh.reveal(), world.authority.secret}
    state = world.stage.config.parent / "state"
    written = b"".join(contents(state).values())
    written += repr(world.stage.events()).encode()
    assert b"lea" not in json.dumps([e.parameters for e in world.events("grants.connect")]).encode()
    for token in tokens:
        for form in (token, base64.b64encode(token.encode()).decode(), quote(token, safe="")):
            assert form.encode() not in written


async def test_doctor_asks_the_server_and_says_what_to_register(world) -> None:
    """Also of the upstream whose server is named by its own metadata (RFC 9728)."""

    def found() -> dict[str, dict[str, object]]:
        done = CliRunner().invoke(
            cli._app("doctor"), ["doctor", "--json", "-c", str(world.stage.config)]
        )
        return {one["what"]: one for one in json.loads(done.stdout)["findings"]}

    said = await asyncio.to_thread(found)
    page = f"{world.stage.gate.control_url}/connect"
    for name in ("box", "found"):
        one = said[f"authorization server of {name}"]
        assert one["ok"], one
        assert one["found"] == f"{world.authority.issuer}; it has to know {page}/{name}/callback"
    assert said["authorization server of swap"]["found"] == world.authority.issuer


async def run(command, *words: str) -> str:
    def invoke() -> str:
        done = CliRunner().invoke(command, list(words))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.stdout

    return await asyncio.to_thread(invoke)
