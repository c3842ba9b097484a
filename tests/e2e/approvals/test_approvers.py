"""Who may approve what, by rules about people: over the API, by commands and in the console."""

import asyncio
import re

import pytest
from typer.testing import CliRunner

import standins
from console.people import housed
from e2e.approvals.desk import desks
from portcullis.cli.approval import app as approval_app
from portcullis.cli.operator import app as operator_app

pytestmark = pytest.mark.anyio

RULES = [
    {"name": "mail", "calls": ["mail.*"], "risk": ["external"], "teams": ["leads"]},
    {
        "name": "tickets",
        "servers": ["tickets"],
        "owners": ["cy@*"],
        "operators": ["bea", "eve@shop.example"],
        "during": {
            "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
            "from": "00:00",
            "to": "24:00",
            "zone": "Europe/Berlin",
        },
    },
    {"name": "elsewhere", "environments": ["staging"], "operators": []},
    {"name": "others", "agents": ["another-*"], "operators": []},
]
TEAMS = {"leads": ["bea", "eve@shop.example"]}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("rules")
    async with desks(folder, rules=RULES, teams=TEAMS, refusals=1000) as made:
        await made.operator("dan", "approver")
        await made.operator("eve", "approver")
        await made.operator("amy", "admin")
        assert (await command(made, operator_app, "is", "eve", "eve@shop.example")).exit_code == 0
        yield made


@pytest.fixture
async def desk(house):
    await house.open()
    house.begin()
    return house


async def command(desk, app, *words):
    whole = [*words, "--config", str(desk.stage.config)]
    return await asyncio.to_thread(CliRunner().invoke, app, whole)


async def held(desk):
    result = await desk.send()
    return re.search(r"approval ([0-9a-f]{32}) is pending", result.content[0].text)[1]


@pytest.mark.control("approver-rules", "mcp-http", "request")
async def test_who_is_not_named_by_the_rule_approves_nothing_and_is_told_who_may(desk):
    approval = await held(desk)
    for who in ("dan", "amy"):  # an administrator is no exception
        status, refused = await desk.decide(who, approval, "approve")
        assert (status, refused["code"]) == (403, "PC3080")
        assert refused["detail"].endswith(
            "rule mail, those who may approve this are: the team leads"
        )
    assert await held(desk) == approval, "it still waits"
    _, shown = await desk.ask("dan", "GET", f"/{approval}")
    rule = {"rule": "mail", "operators": [], "teams": ["leads"], "you": False}
    assert shown["rules"] == [rule], "the rules of other calls do not speak of it"
    _, shown = await desk.ask("eve", "GET", f"/{approval}")
    assert shown["rules"] == [rule | {"you": True}]
    assert desk.mails() == 0
    assert (await desk.decide("eve", approval, "approve"))[0] == 200
    assert not (await desk.send()).is_error
    assert desk.mails() == 1
    refusal = await standins.eventually(desk.stage, lambda event: event.code == "PC3080")
    assert (refusal.principal, refusal.verdict) == ("dan", "deny")
    approved = await standins.eventually(
        desk.stage, lambda event: event.method == "approval.approved"
    )
    assert (approved.principal, approved.parameters["rules"]) == ("eve", ["mail"])


async def test_both_of_two_people_have_to_be_named_and_anybody_may_deny(desk):
    customer = {"customer_id": standins.SUBJECT["customer_id"]}
    async with standins.mcp_client(desk.stage, "tickets", desk.token) as client:

        async def ask():
            result = await client.call_tool("update", update)
            return re.search(r"approval ([0-9a-f]{32}) is pending", result.content[0].text)[1]

        ticket = customer | {"subject": "Late", "body": "Where is it?"}
        made = (await client.call_tool("create", ticket)).structured_content
        update = customer | {"ticket_id": made["ticket_id"], "status": "closed"}
        approval = await ask()
        assert (await desk.decide("dan", approval, "approve"))[1]["code"] == "PC3080"
        assert (await desk.decide("bea", approval, "approve"))[1]["state"] == "pending"
        status, refused = await desk.decide("dan", approval, "approve")
        assert (status, refused["code"]) == (403, "PC3080")
        assert "bea, eve@shop.example" in refused["detail"]
        assert (await desk.decide("eve", approval, "approve"))[1]["state"] == "approved"
        assert not (await client.call_tool("update", update)).is_error
        approval = await ask()
        assert (await desk.decide("dan", approval, "deny"))[1]["state"] == "denied"


async def test_the_command_line_says_who_may_and_is_refused_itself(desk):
    approval = await held(desk)
    shown = await command(desk, approval_app, "show", approval)
    assert re.search(
        r"^may approve +by the rule mail: the team leads; not you$", shown.output, re.MULTILINE
    )
    done = await command(desk, approval_app, "approve", approval, "--reason", "it is mine")
    assert getattr(done.exception, "code", None) == "PC3080"
    assert (await desk.ask("bea", "GET", f"/{approval}"))[1]["approval"]["state"] == "pending"


async def test_the_console_shows_who_may_and_takes_no_form_of_anybody_else(desk):
    approval = await held(desk)
    fields = {"reason": "asked the customer", "whole": "yes", "confirmed": "yes"}
    async with housed(desk) as made:
        dan, bea = made.person("dan"), made.person("bea")
        page = await dan.get(f"/approvals/{approval}", accept="text/html")
        assert "You are not of them" in page.text
        assert 'id="approve"' not in page.text
        assert 'id="deny"' in page.text
        page = await bea.get(f"/approvals/{approval}", accept="text/html")
        assert 'id="approve"' in page.text
        assert "the team leads" in page.text
        binding = re.search(r'name="binding" value="([^"]+)"', page.text)[1]
        place = f"/approvals/{approval}/approve"
        refused = await dan.act(place, binding=binding, **fields)
        assert refused.status == 403
        assert "PC3080" in refused.text
        assert (await bea.act(place, binding=binding, **fields)).status == 303
