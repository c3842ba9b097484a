"""If these fail, a gate whose records are in PostgreSQL asks nobody, forgets who was cut off, does
what was approved once twice, or lets pass what it cannot write down."""

import asyncio
import contextlib
import sqlite3

import openai
import pytest
from sqlalchemy import make_url

import standins
from e2e.approvals.desk import MAIL, furnished, policy
from e2e.processes.fleet import fleet, until
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.store.engine import open_store
from portcullis.store.ruling import RecordsRule, only
from postgres_servers import needs_postgresql, postgres_server

pytestmark = [pytest.mark.anyio, needs_postgresql]

WORKERS = ("gate-1", "gate-2")


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


def stored(folder, url):
    """The section of a configuration that says where records are."""
    reference = folder / "store.url"
    reference.write_text(url)
    reference.chmod(0o600)
    return {"store": {"url": f"file:{reference}"}}


@pytest.fixture(scope="module")
async def desk(tmp_path_factory, anyio_backend, postgres):
    folder = tmp_path_factory.mktemp("records")
    with postgres.new() as url:
        settings = {"approvals": {"refusals": 1000}} | stored(folder, url)
        async with standins.staged(folder, policy=policy(), settings=settings) as stage:
            made = await furnished(stage)
            made.url = url
            yield made


def handle(result):
    """The approval that a held tool call waits for."""
    assert result.is_error
    return result.meta["portcullis/approval"]


async def test_a_call_is_held_approved_done_once_and_denied(desk, postgres):
    desk.begin()
    approval = handle(await desk.send())
    assert handle(await desk.send()) == approval, "it asks once"
    assert (await desk.decide("bea", approval, "approve"))[0] == 200
    async with standins.mcp_client(desk.stage, "mail", desk.token) as client:
        found = await asyncio.gather(*(client.call_tool("send", MAIL) for _ in range(40)))
    assert desk.mails() == 1
    assert sum(not one.is_error for one in found) == 1
    (anew,) = {handle(one) for one in found if one.is_error}
    assert (await desk.decide("bea", anew, "deny"))[0] == 200
    assert (await desk.refused())["code"] == "PC3041"
    assert desk.mails() == 1
    database = make_url(desk.url).database
    rows = postgres.sql("SELECT id, state FROM approvals ORDER BY created_at", database)
    assert rows == [(approval, "consumed"), (anew, "denied")]
    file = desk.stage.config.parent / "state" / "portcullis.db"
    with contextlib.closing(sqlite3.connect(file)) as beside:  # which tests always have
        for table in ("approvals", "principals", "sessions"):
            rows = beside.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - ours
            assert rows == (0,), "nothing of it is in a file"


async def test_who_is_cut_off_hears_so_and_stays_so(desk, postgres):
    await desk.open()
    handle(await desk.send())
    await desk.stage.gate.services.feed.cut("session", desk.session, "leaked")
    async with standins.openai_client(desk.stage, desk.token) as client:
        with pytest.raises(openai.PermissionDeniedError, match="PC4001"):
            await client.chat.completions.create(
                model="gpt-standin", messages=[{"role": "user", "content": "Hello"}]
            )
    database = make_url(desk.url).database
    assert postgres.sql("SELECT scope, value FROM cuts", database) == [("session", desk.session)]


async def test_processes_deny_while_the_server_is_gone_and_go_on_when_it_is_back(tmp_path):
    with postgres_server() as server:
        url = server.url(server.make())
        up = ("up", "up", "--workers", "2")
        async with fleet(tmp_path, up, gateways=WORKERS, settings=stored(tmp_path, url)) as made:
            token = await made.agent()
            assert await made.codes(token, 8) == {"": 8}
            server.stop(kill=True)

            async def refused():
                return set(await made.codes(token, 8)) <= {"PC9002", "PC4002"}

            await until(refused, 60)
            assert await refused()
            await asyncio.to_thread(server.start)

            async def served():
                return set(await made.codes(token, 8)) == {""}

            await until(served, 60)
            await made.create(PrincipalKind.AGENT, "support-agent-prod-002")
            await made.run("kill", "--agent", standins.AGENT)
            assert await made.codes(token, 8) == {"PC4001": 8}
            other = await made.agent("support-agent-prod-002")
            assert await made.codes(other, 4) == {"": 4}
            log = made.said("up")
            assert server.folder.name not in log, "no word of where the records are"
            await _one_rules(made, server, url)


async def _one_rules(made, server, url):
    """The control plane has its lock again, and lets go once another rules."""
    engine = open_store(url)
    try:
        with pytest.raises(Problem, match="PC6003"):
            RecordsRule(engine, "control").take()
        database = make_url(url).database
        server.sql("UPDATE versions SET value = value + 1 WHERE name = 'ruling'", database)
        server.end_connections(database)  # as if another had had it meanwhile
        assert await asyncio.wait_for(made.children["up"].wait(), 60) == 1
        assert "PC4005" in made.said("up")
        with only(engine, "control") as rule:
            assert rule.begin() == 3
    finally:
        engine.dispose()
