"""Calls that policy let pass, looked at afterwards: with a real gate, tool servers and clients."""

import asyncio
import dataclasses
import time

import aiohttp
import pytest
import yaml
from sqlalchemy import delete, insert, update

import standins
from e2e.approvals.desk import MAIL, furnished, policy, started
from portcullis.audit.export.source import Source
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.projection import caught_up, projection_of
from portcullis.config import load
from portcullis.store.engine import open_sqlite
from portcullis.store.projection import Projector
from portcullis.store.tables import REVIEW_ACTS, REVIEWS

pytestmark = pytest.mark.anyio
CLOSING = {"disposition": "expected", "reason": "the customer asked for it"}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


def deleting():
    """The policy of approvals, under which the agent may also delete customers."""
    text = yaml.safe_load(policy())
    role = text["roles"]["support_agent"]
    role["permissions"].append({"delete": "customer_records"})
    del role["denied_tools"]
    text["tools"]["crm.delete_customer"]["arguments"] = {"customer_id": {"max_length": 16}}
    return yaml.safe_dump(text)


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    settings = {"audit": {"content": {"keep": "arguments"}}}
    folder = tmp_path_factory.mktemp("reviews")
    async with standins.staged(folder, policy=deleting(), settings=settings) as stage:
        yield await furnished(stage)


@pytest.fixture
async def desk(house):
    """The gate of the module, with a session of its own for each test."""
    await house.open()
    house.begin()
    return house


async def ask(desk, who, method="GET", path="", body=None):
    """An operator's request about what is to be looked at."""
    url = f"{desk.stage.gate.control_url}/api/v1/reviews{path}"
    async with (
        aiohttp.ClientSession(headers=desk.operators[who]) as http,
        http.request(method, url, json=body) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def remove(desk, customer):
    """Delete a customer with the official MCP client."""
    async with standins.mcp_client(desk.stage, "crm", desk.token) as client:
        return await client.call_tool("delete_customer", {"customer_id": customer})


def read(stage, *, anew=False):
    """Bring the queue up to what the log has signed."""
    place = stage.gate.audit_directory
    with projection_of(load(stage.config)) as projection:
        projector = Projector(projection, "gate", Source(place, own_verifier(place)))
        if anew:
            projector.restart()
        return caught_up(projector)


async def mine(desk, query=""):
    """What of this test's session is to be looked at, in time."""
    until = time.monotonic() + 8
    while time.monotonic() < until:
        await asyncio.to_thread(read, desk.stage)
        _, found = await ask(desk, "vic", path=query)
        entries = [one for one in found["reviews"] if one["session"] == desk.session]
        if entries:
            return entries
        await asyncio.sleep(0.1)
    return []


async def settled(desk):
    """Wait until all that happened so far is in the queue, if it is to be there."""
    await standins.eventually(
        desk.stage, lambda event: (event.type, event.session) == ("tool_result", desk.session)
    )
    size = len(desk.stage.events())
    place = desk.stage.gate.audit_directory
    source = Source(place, own_verifier(place))
    for _ in range(600):
        if source.refresh() >= size:
            break
        await asyncio.sleep(0.05)
    await asyncio.to_thread(read, desk.stage)


async def test_a_delete_that_policy_allows_is_shown_and_closed_by_somebody_else(desk):
    assert not (await remove(desk, "C-1002")).is_error
    (entry,) = await mine(desk, "?state=open&risk=delete&agent=" + standins.AGENT)
    assert (entry["server"], entry["name"], entry["risk"]) == ("crm", "delete_customer", "delete")
    assert (entry["arguments"], entry["state"]) == (["customer_id"], "open")
    assert entry["user"].startswith("hmac-sha256:")
    path = f"/{entry['id']}"
    assert (await ask(desk, "vic", path=path))[0] == 403
    status, shown = await ask(desk, "bea", path=path)
    assert status == 200
    assert shown["content"] == [
        {"name": "arguments.customer_id", "value": '"C-1002"', "intact": True}
    ]
    assert (shown["user"], shown["task"]["prompts"]) == ("ada", ["Where is my order O-5001?"])
    for who, code in (("vic", "PC2004"), ("ada", "PC3046"), ("cy", "PC3046")):
        assert (await ask(desk, who, "POST", f"{path}/close", CLOSING))[1]["code"] == code
    await desk.stage.gate.services.sessions.close(desk.session)  # the user is known all the same
    assert (await ask(desk, "ada", "POST", f"{path}/close", CLOSING))[1]["code"] == "PC3046"
    status, done = await ask(desk, "bea", "POST", f"{path}/close", CLOSING)
    assert (status, done["state"], done["disposition"]) == (200, "closed", "expected")
    assert (await ask(desk, "bea", "POST", f"{path}/close", CLOSING))[1]["code"] == "PC3049"
    assert not [one for one in (await ask(desk, "vic", path="?state=open"))[1]["reviews"]
                if one["id"] == entry["id"]]  # fmt: skip
    events = [event for event in desk.stage.events() if event.name == entry["id"]]
    done = [event for event in events if event.verdict == "allow"]
    assert [event.method for event in done] == ["review.read", "review.closed"]
    assert (done[1].principal, done[1].parameters["reason"]) == ("bea", CLOSING["reason"])
    assert "C-1002" not in repr(desk.stage.events())


async def test_what_a_human_approved_before_is_not_asked_about_again(desk):
    held = await desk.send()
    await desk.decide("bea", held.meta["portcullis/approval"], "approve")
    assert not (await desk.send()).is_error
    assert desk.mails() == 1
    await settled(desk)
    _, found = await ask(desk, "vic")
    assert desk.session not in {one["session"] for one in found["reviews"]}
    assert MAIL["to"] not in repr(found)


async def test_rows_that_somebody_changed_are_as_the_log_has_them_after_reading_it_again(desk):
    for customer in ("C-1003", "C-1004"):
        await remove(desk, customer)
    await settled(desk)
    first, second = await mine(desk)
    path = f"/{first['id']}/close"
    await ask(desk, "bea", "POST", path, CLOSING | {"disposition": "mistake"})
    await ask(desk, "bea", "POST", f"/{first['id']}/reopen", {"reason": "not so sure"})
    await ask(desk, "bea", "POST", path, CLOSING | {"disposition": "incident"})
    before = await mine(desk)
    assert [one["disposition"] for one in before] == ["incident", ""]
    forged = {"turn": 99, "at": 0.0, "verb": "closed", "disposition": "expected", "by": "bea"}
    engine = open_sqlite(load(desk.stage.config).state / "portcullis.db")
    with engine.begin() as database:
        database.execute(delete(REVIEW_ACTS).where(REVIEW_ACTS.c.entry == first["id"]))
        row = {"id": "f", "log": "gate", "number": -1, "entry": second["id"], "reason": ""}
        database.execute(insert(REVIEW_ACTS).values(row | forged))
        database.execute(update(REVIEWS).values(agent="nobody"))
    engine.dispose()
    assert [one["disposition"] for one in await mine(desk)] == ["", "expected"]
    await settled(desk)
    await asyncio.to_thread(read, desk.stage, anew=True)
    assert await mine(desk) == before


async def test_what_is_open_survives_a_restart_and_without_content_that_is_said(house):
    text = yaml.safe_load(house.stage.config.read_text(encoding="utf-8"))
    config = house.stage.config.with_name("nothing-kept.yaml")
    config.write_text(yaml.safe_dump(text | {"audit": {}}), encoding="utf-8")
    outer = dataclasses.replace(house.stage, config=config)
    async with started(outer, "second") as stage:
        desk = await furnished(stage)
        await remove(desk, "C-1005")
        await stage.gate.services.sessions.close(desk.session)
        await settled(desk)
        (entry,) = await mine(desk)
    async with started(outer, "second") as stage:
        desk.stage = stage
        assert await mine(desk) == [entry]
        path = f"/{entry['id']}"
        _, shown = await ask(desk, "bea", path=path)
        assert (shown["content"], shown["user"], shown["task"]) == ([], "", None)
        assert (await ask(desk, "ada", "POST", f"{path}/close", CLOSING))[1]["code"] == "PC3046"
        assert (await ask(desk, "bea", "POST", f"{path}/close", CLOSING))[0] == 200
