"""If this fails, a newcomer is observed without anybody knowing, for longer than said, or in more
than reads and changes."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from mcp import MCPError
from typer.testing import CliRunner

import standins
from console.people import housed
from e2e.approvals.desk import furnished
from e2e.matrix.seen import code_in
from portcullis.bootstrap.observing import DRAFTS
from portcullis.cli.policy import app
from portcullis.core.alert import Wanted
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.policy.observe import MOST_SECONDS
from portcullis.policy.source import read
from portcullis.review.replay_side import Side

pytestmark = pytest.mark.anyio

NAME = "newcomer-1"
MINE = {"customer_id": "C-1001"}
ARTICLE = "kb://articles/returns"
SECONDS = 12


@pytest.fixture
def anyio_backend():
    return "asyncio"


def policy(until=None):
    """The demonstration's, with an agent that may hardly anything; it may be observed."""
    told = yaml.safe_load(standins.support_policy())
    told["agents"][NAME] = {"role": "newcomer", "owner": "team"}
    if until is not None:
        moment = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told["agents"][NAME]["observe"] = {"until": moment, "reason": "its first days"}
    told["roles"]["newcomer"] = {
        "allowed_tools": ["kb.search_knowledge_base"],
        "denied_tools": ["orders.get"],
    }
    return yaml.safe_dump(told, sort_keys=False)


async def tried(stage, token, tool, arguments):
    """The code that a real client's call is refused with; empty when it is answered."""
    server, _, name = tool.partition(".")
    try:
        async with standins.mcp_client(stage, server, token) as client:
            await client.call_tool(name, arguments)
    except BaseExceptionGroup as group:  # a server on which it has nothing does not open
        return code_in(refusal(group).error.data)
    return ""


def refusal(error):
    """The protocol's error in a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, MCPError), error
    return error


async def listed(stage, token, server):
    """What a client is shown."""
    async with standins.mcp_client(stage, server, token) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


async def reads(stage, token):
    """What comes of reading a resource before it is listed, after, and one that nobody lists."""
    codes = []
    async with standins.mcp_client(stage, "kb", token) as client:

        async def one(uri):
            try:
                await client.read_resource(uri)
            except MCPError as error:
                codes.append(code_in(error.error.data))
            else:
                codes.append("")

        await one(ARTICLE)
        assert ARTICLE in {str(found.uri) for found in (await client.list_resources()).resources}
        await one(ARTICLE)
        await one(f"{ARTICLE}?to=me")
    return codes


async def activated(stage, text):
    """Put a policy in force in the running gate."""
    count = sum(one.method == "policy.activate" for one in stage.events())
    place = stage.config.parent / "policy/support.yaml"
    await asyncio.to_thread(place.write_text, text)
    for _ in range(600):
        stage.gate.reload_policy()
        await asyncio.sleep(0.05)
        found = [one for one in stage.events() if one.method == "policy.activate"]
        if len(found) > count:
            return found[-1]
    raise AssertionError("the policy was not looked at")


async def test_a_newcomer_is_observed_loudly_for_a_time_and_then_a_draft_says_what_it_needs(
    tmp_path,
):
    async with (
        standins.staged(tmp_path, policy=policy()) as stage,
        housed(await furnished(stage)) as house,
    ):
        viewer = house.person(await house.new("wally", "viewer"))
        assert "Observed" not in (await viewer.get("/agents")).text
        await stage.register(PrincipalKind.AGENT, NAME)
        token = await standins.session_token(stage, agent=NAME, application="their-own")
        assert await tried(stage, token, "tickets.list", MINE) == "PC3001"

        far = await activated(stage, policy(time.time() + MOST_SECONDS + 3600))
        assert (far.verdict, far.code) == ("deny", "PC7040")
        assert await tried(stage, token, "tickets.list", MINE) == "PC3001"

        until = int(time.time()) + SECONDS
        await activated(stage, policy(until))
        begun = await standins.eventually(stage, lambda one: one.method == "policy.observe.begin")
        assert begun.parameters["agent"] == NAME
        seen = {
            tool: await tried(stage, token, tool, arguments)
            for tool, arguments in {
                "tickets.list": MINE,
                "orders.search": {"customer_id": "C-2002"},
                "orders.get": MINE | {"order_id": "O-5001"},
                "mail.send": {"to": "ada@customer.example", "subject": "x", "body": "y"},
                "crm.delete_customer": MINE,
            }.items()
        }
        assert seen == {
            "tickets.list": "",
            "orders.search": "PC3004",  # bounds hold
            "orders.get": "PC3002",  # denials hold
            "mail.send": "PC3001",  # nothing is sent
            "crm.delete_customer": "PC3001",  # nothing is deleted
        }
        assert await reads(stage, token) == ["PC3001", "", "PC3001"]
        assert await listed(stage, token, "tickets") >= {"list", "create"}
        assert await listed(stage, token, "mail") == set()
        agents, own = [(await viewer.get(one)).text for one in ("/agents", f"/agents/{NAME}")]
        assert "Observed, so that what no grant allows is let through" in agents
        assert "state-observed" in agents
        assert "Observed until" in own
        let = [one for one in stage.events() if one.observed]
        assert {one.name for one in let if one.action == "tool"} == {"list"}
        assert all("OBSERVED@policy" in one.findings for one in let)
        assert time.time() < until, "the machine was too slow to observe anything"

        ended = await standins.eventually(
            stage, lambda one: one.method == "policy.observe.end", seconds=SECONDS + 5
        )
        assert (ended.parameters["by"], ended.time.timestamp() >= until) == ("time", True)
        assert await tried(stage, token, "tickets.list", MINE) == "PC3001"
        drafted = await standins.eventually(
            stage, lambda one: one.method == "policy.drafted", seconds=10
        )
        assert (drafted.parameters["lost"], drafted.parameters["observed"]) == (0, 2)
        place = tmp_path / "state" / DRAFTS / drafted.parameters["draft"]
        await told_of(stage)
    looked_at(place)


async def told_of(stage):
    """There is an alert for the observation, and one for the draft."""
    store = stage.gate.services.alert_parts.store
    for _ in range(600):
        rules = {one.rule for one in await asyncio.to_thread(store.page, Wanted(), "", 50)}
        if {"agent-observed", "policy-drafted"} <= rules:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(rules)


def looked_at(place: Path):
    """The draft is a whole policy in which the agent has a role of its own, and observes nobody."""
    side = Side(read(place / "policy"))
    assert side.compiled.roles[NAME] == f"mined-{NAME}"
    assert side.compiled.observed == ()
    (role,) = [one for one in side.policy.roles if one.name.value == f"mined-{NAME}"]
    assert [one.value for one in role.allowed_tools] == ["tickets.list"]
    assert [one.value for one in role.allowed_resources] == [f"kb.{ARTICLE}"]
    assert [one.value for one in role.denied_tools] == ["orders.get"]
    report = json.loads((place / "report.json").read_text())
    assert report["lost"] == []
    assert (place / "mined.patch").read_text().startswith("--- ")


def test_a_policy_that_observes_for_too_long_is_refused_before_it_is_activated(tmp_path):
    (tmp_path / "policy.yaml").write_text(policy(time.time() + MOST_SECONDS + 3600))
    refused = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert isinstance(refused.exception, Problem)
    assert refused.exception.code == "PC7040"
