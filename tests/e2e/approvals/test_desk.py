"""The data behind the desk, from a running gate: what is like a call, and what happens, at once."""

import asyncio
import contextlib
import json
import time

import aiohttp
import pytest

import standins
from e2e.approvals.desk import MAIL, desks
from e2e.approvals.test_approvals import handle
from portcullis.core.call import Context
from portcullis.core.principal import Principal, PrincipalKind

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    async with desks(tmp_path_factory.mktemp("house"), refusals=1000) as made:
        yield made


@pytest.fixture
async def desk(house):
    await house.open()
    return house


def operator(name="bea"):
    principal = Principal(
        kind=PrincipalKind.OPERATOR,
        id=name,
        credential="c",
        expires_at=time.time() + 60,
        roles=("admin",),
    )
    return Context(
        principal=principal,
        session=None,
        source="127.0.0.1:1",
        trace_id="",
        received_at=time.time(),
    )


async def opened(house, approval):
    """What the page of an approval is made of."""
    services = house.stage.gate.services
    shown = await services.approvals("control").show(operator(), approval)
    assert shown[1] is not None
    return services.desk("control"), *shown


async def soon(looked_up):
    """What is there in a moment: some things are written beside the call."""
    for _ in range(600):
        found = await looked_up()
        if found is not None:
            return found
        await asyncio.sleep(0.05)
    pytest.fail("it never came")


@contextlib.asynccontextmanager
async def watching(house, who="vic", query=""):
    """The events of the stream, as they come."""
    url = f"{house.stage.gate.control_url}/api/v1/live{query}"
    async with aiohttp.ClientSession(headers=house.operators[who]) as http, http.get(url) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert await answer.content.readuntil(b"\n\n") == b": watching\n\n"

        async def events():
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

        yield events()


async def test_a_held_call_is_compared_with_the_last_one_that_went_ahead_until_it_is_erased(desk):
    gate = desk.stage.gate
    first = handle(await desk.send())
    there, approval, shown = await opened(desk, first)
    assert await there.similar(operator(), approval, shown) is None
    await desk.decide("bea", first, "approve")
    assert not (await desk.send()).is_error
    second = handle(await desk.send(MAIL | {"body": "Your parcel is lost."}))
    there, approval, shown = await opened(desk, second)
    similar = await soon(lambda: there.similar(operator(), approval, shown))
    (difference,) = similar.differences
    assert (difference.path, difference.before, difference.after) == (
        "body",
        MAIL["body"],
        "Your parcel is lost.",
    )
    assert similar.same == 2
    events = {one.id: one for one in desk.stage.events()}
    assert (events[similar.event].approval, events[similar.event].type) == (first, "tool_call")
    compared = [one for one in events.values() if one.method == "approval.compared"]
    assert compared[-1].approval == second
    assert compared[-1].parameters["event"] == similar.event
    assert MAIL["body"] not in json.dumps(compared[-1].parameters)
    database = (desk.stage.config.parent / "state" / "portcullis.db").read_bytes()
    assert MAIL["body"].encode() not in database
    subject = "subject:customer_id=" + standins.SUBJECT["customer_id"]
    await gate.services.privacy("control").erase(operator(), subject, "request 7")
    assert await there.similar(operator(), approval, shown) is None


async def test_where_no_policy_is_at_hand_what_a_tool_means_is_unknown(desk):
    held = handle(await desk.send(MAIL | {"subject": "reach"}))
    there, approval, shown = await opened(desk, held)
    lines = {line.what: line for line in there.radius(approval, shown)}
    assert lines["effect"].grade == "high"
    assert lines["tool"].value.startswith("unknown")


async def test_who_watches_sees_it_at_once_and_none_of_its_content(desk):
    async with watching(desk, query="?agent=" + standins.AGENT) as events:
        approval = handle(await desk.send(MAIL | {"subject": "seen live"}))
        seen = []
        async with asyncio.timeout(5):
            async for one in events:
                seen.append(one)
                if one["kind"] == "decision" and one.get("approval") == approval:
                    break
        asked = next(one for one in seen if one.get("state") == "pending")
        assert (asked["approval"], asked["name"]) == (approval, "send")
        assert seen[-1]["verdict"] == "hold"
        said = json.dumps(seen)
        assert "seen live" not in said
        assert MAIL["to"] not in said
        await desk.decide("bea", approval, "deny")
        async with asyncio.timeout(5):
            async for one in events:
                if one.get("state") == "denied":
                    break
        assert (one["operator"], one["agent"]) == ("bea", standins.AGENT)


async def test_the_stream_ends_when_who_watches_is_cut_off(desk):
    await desk.operator("eve", "viewer")
    async with watching(desk, "eve") as events:
        await desk.stage.revoke(PrincipalKind.OPERATOR, "eve")
        async with asyncio.timeout(5):
            seen = [one async for one in events]
        assert all("eve" not in one.get("agent", "") for one in seen)


async def test_nobody_watches_without_a_role_and_a_kind_that_there_is(desk):
    url = f"{desk.stage.gate.control_url}/api/v1/live"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            assert answer.status == 401
        headers = desk.operators["vic"]
        async with http.get(url, headers=headers, params={"kind": "resync"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "PC1020")


async def test_what_waits_and_what_happened_is_turned_page_by_page(desk):
    held = [handle(await desk.send(MAIL | {"subject": f"page {n}"})) for n in range(3)]
    found, cursor = [], ""
    for _ in range(9):
        path = f"?state=pending&session={desk.session}&limit=2&cursor={cursor}"
        _, page = await desk.ask("vic", "GET", path)
        found += [one["id"] for one in page["approvals"]]
        cursor = page["following"]
        if not cursor:
            break
    assert found == held
    assert (await desk.ask("vic", "GET", "?cursor=none"))[1]["code"] == "PC3051"
    base = f"{desk.stage.gate.control_url}/api/v1"

    async def get(path):
        async with (
            aiohttp.ClientSession(headers=desk.operators["vic"]) as http,
            http.get(base + path) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def projected():
        page = await get(f"/decisions?session={desk.session}&verdict=hold")
        return page["decisions"] if len(page["decisions"]) == 3 else None

    decisions = await soon(projected)
    assert {one["name"] for one in decisions} == {"send"}
    assert [one["at"] for one in decisions] == sorted(
        (one["at"] for one in decisions), reverse=True
    )
    (agent,) = (await get(f"/agents?name={standins.AGENT}"))["agents"]
    assert agent["waiting"] >= 3
    assert agent["last_seen"] >= decisions[0]["at"] - 1
    (session, *_) = (await get(f"/sessions?agent={standins.AGENT}&limit=1"))["sessions"]
    assert session["id"] == desk.session
    assert "user" not in session
