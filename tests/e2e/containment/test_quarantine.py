"""If these fail, quarantine asks nobody, comes too late, or is felt by those beside it."""

import asyncio
import contextlib
import statistics
import sys
import time

import openai
import pytest
from mcp import MCPError

import standins
from e2e.matrix.cells import until
from e2e.matrix.deployment import operator
from e2e.matrix.seen import code_in
from portcullis.core.behaviour import Kind, Phase, Reason, Standing
from portcullis.core.principal import PrincipalKind
from portcullis.store.behaviour import SqlBehaviour
from portcullis.store.engine import open_sqlite

pytestmark = pytest.mark.anyio
OTHER = "support-agent-prod-002"
HOLDING = "{reads: [tickets.list], otherwise: hold}"


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def stage(tmp_path_factory, anyio_backend):
    policy = policy_with(HOLDING)
    settings = {"approvals": {"wait_seconds": 0}}
    folder = tmp_path_factory.mktemp("quarantine")
    async with standins.staged(folder, policy=policy, settings=settings) as stage:
        for agent in (standins.AGENT, OTHER):
            await stage.register(PrincipalKind.AGENT, agent, owner="support")
        yield stage


@pytest.fixture(scope="module")
async def application(stage):
    return await stage.register(PrincipalKind.APPLICATION, "helpdesk")


@pytest.fixture
async def session(stage, application):
    return await stage.open_session(application, standins.AGENT, subject=standins.SUBJECT)


@pytest.fixture
def service(stage):
    return stage.gate.services.quarantining("test")


async def call(stage, token, tool="create", **arguments):
    """The code that a call to the ticket server is refused with, empty when it went."""
    asked = {"customer_id": standins.SUBJECT["customer_id"]} | arguments
    async with standins.mcp_client(stage, "tickets", token) as client:
        try:
            answer = await client.call_tool(tool, asked)
        except MCPError as error:
            return code_in(error.error.data), ""
    text = answer.content[0].text
    return (code_in(text) if answer.is_error else ""), answer.meta or {}


def policy_with(quarantine):
    return f"{standins.support_policy()}\nquarantine: {quarantine}\n"


def enforce(stage, quarantine):
    """Put another policy in force."""
    folder = stage.config.parent / "policy"
    (folder / "support.yaml").write_text(policy_with(quarantine), encoding="utf-8")
    stage.gate.reload_policy()


TICKET = {"subject": "late", "body": "The parcel is late."}


async def test_where_policy_asks_a_human_decides_about_each_call(stage, session, service):
    name, token = session
    assert (await call(stage, token, **TICKET))[0] == ""
    await service.begin(operator(), "session", name, "odd")
    assert (await call(stage, token, "list"))[0] == "", "a read on the list"
    code, meta = await call(stage, token, **TICKET)
    assert code == "PC3040"
    approval = meta["portcullis/approval"]
    detail = await stage.gate.services.approvals("test").show(operator(), approval)
    assert detail[1].questions == ("in quarantine: odd",)
    await stage.approve(approval, "seen")
    assert (await call(stage, token, **TICKET))[0] == "", "and its answer is passed on"
    assert (await call(stage, token, **TICKET))[0] == "PC3040", "once"
    await service.end(operator(), "session", name, "it was nothing")
    assert (await call(stage, token, **TICKET))[0] == ""


async def test_an_agent_is_isolated_in_all_its_sessions_and_whoever_acts_for_it(
    stage, application, session, service
):
    _, token = session
    theirs = (await stage.open_session(application, OTHER, subject=standins.SUBJECT))[1]
    await service.begin(operator(), "agent", standins.AGENT, "odd")
    asked = {"model": "gpt-standin:say", "messages": [{"role": "user", "content": "hello"}]}
    async with (
        standins.openai_client(stage, token) as client,
        standins.openai_client(stage, theirs) as other,
    ):
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(**asked)
        assert code_in(refused.value.body) == "PC3040", "a model call waits for a human, too"
        assert (await other.chat.completions.create(**asked)).choices
        await service.end(operator(), "agent", standins.AGENT, "it was nothing")
        assert (await client.chat.completions.create(**asked)).choices


async def test_the_neighbours_do_not_notice(stage, application, session, service):
    """Their latency while the other is in quarantine and goes on asking, by that while it is not.

    Both are measured in turns within one run, so that whatever else happens is in both.
    """
    name, token = session
    theirs = (await stage.open_session(application, OTHER, subject=standins.SUBJECT))[1]
    odd, neighbour = (standins.openai_client(stage, one) for one in (token, theirs))
    asked = {"model": "gpt-standin:say", "messages": [{"role": "user", "content": "hello"}]}
    took = {False: [], True: []}
    enforce(stage, "{reads: [tickets.list]}")

    async def hammer():
        while True:
            with contextlib.suppress(openai.PermissionDeniedError):
                await odd.chat.completions.create(**asked)
            await asyncio.sleep(0.02)  # as often while it is answered as while it is refused

    for turn in range(4):
        isolated = turn % 2 == 1
        if isolated:
            await service.begin(operator(), "session", name, "odd")
        beside = asyncio.create_task(hammer())
        for _ in range(25):
            began = time.perf_counter()
            await neighbour.chat.completions.create(**asked)
            took[isolated].append(time.perf_counter() - began)
        beside.cancel()
        await asyncio.wait([beside])
        if isolated:
            await service.end(operator(), "session", name, "it was nothing")
    await odd.close()
    await neighbour.close()
    before, during = (statistics.median(took[isolated]) for isolated in (False, True))
    sys.stdout.write(
        f"neighbours' median {before * 1000:.2f} ms, beside one in quarantine"
        f" {during * 1000:.2f} ms: ratio {during / before:.2f}\n"
    )
    assert during / before < 1.5


async def test_an_agent_whose_risk_becomes_critical_is_isolated_by_itself(stage, session, service):
    _, token = session
    database = open_sqlite(stage.config.parent / "state" / "portcullis.db")
    store, clock = SqlBehaviour(database), stage.gate.services.clock

    def scored(score):
        reason = Reason(
            kind=Kind.VOLUME,
            subject="orders.search",
            seen="900 calls",
            usual="10",
            weight=score,
            at=clock.now(),
        )
        standing = Standing(
            agent=standins.AGENT,
            phase=Phase.LOCKED,
            score=score,
            scored_at=clock.now(),
            reasons=(reason,),
        )
        store.keep([standing])

    enforce(stage, HOLDING)
    try:
        scored(1000.0)
        feed = stage.gate.services.feed
        await until(lambda: ("agent", standins.AGENT) in isolated(feed))
        assert (await call(stage, token, **TICKET))[0] == "PC3040"
        (kept,) = await service.list()
        assert kept.reason == ("its risk is critical; volume: orders.search: 900 calls (10)")
        event = await standins.eventually(
            stage,
            lambda e: (
                e.method == "quarantine.begin"
                and e.name == f"agent:{standins.AGENT}"
                and e.principal_kind == "gateway"
            ),
        )
        assert event.parameters["reason"] == kept.reason
        raised = {"kind": "quarantine"}
        assert stage.gate.registry.get_sample_value("portcullis_alarms_total", raised) == 1
        await service.end(operator(), "agent", standins.AGENT, "looked at")
        await asyncio.sleep(0.5)
        assert await service.list() == (), "who was let out stays out"
    finally:
        scored(0.0)
        database.dispose()


def isolated(feed):
    return {one.key for one in feed.standings() if one.isolated}
