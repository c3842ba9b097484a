"""Who may approve a release, and who may confirm an agent: over the API, by commands, in pages."""

import asyncio

import pytest
import yaml
from typer.testing import CliRunner

import standins
from console.people import housed
from e2e.approvals.desk import furnished, policy
from portcullis.cli.operator import app as operator_app
from portcullis.cli.policy import app as policy_app
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio

RELEASES = "/api/v1/policy/releases"
AGENTS = "/api/v1/policy/agents"
OTHER = "desk-agent-prod-001"
RULES = [
    {"name": "policy", "releases": True, "teams": ["security"]},
    {"name": "support", "releases": True, "agents": ["support-*"], "operators": ["eve"]},
    {"name": "desk", "releases": True, "owners": ["desk team"], "operators": []},
    {"name": "calls", "operators": []},
]
SETTINGS = {
    "policy_changes": {"approvals": 1},
    "policy_review": {"owners_certify": True},
    "approvals": {"rules": RULES, "teams": {"security": ["sam", "eve"], "Desk Team": ["sue"]}},
    "roles": {"owner": {"rights": ["look", "access.certify"]}},
}


def text():
    """Two agents; the directory names another owner of the first than the policy."""
    told = yaml.safe_load(policy())
    told["agents"][standins.AGENT]["owner"] = "somebody@shop.example"
    told["agents"][OTHER] = {"role": "desk", "owner": "desk team"}
    told["roles"]["desk"] = {"allowed_tools": ["crm.get_customer"]}
    return told


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("deciders")
    whole = yaml.safe_dump(text())
    async with standins.staged(folder, policy=whole, settings=SETTINGS) as stage:
        desk = await furnished(stage)
        await stage.register(PrincipalKind.AGENT, OTHER, owner="desk team")
        for name, role in (("sam", "admin"), ("eve", "admin"), ("sue", "owner"), ("cid", "owner")):
            await desk.operator(name, role)
        assert (await command(stage, operator_app, "is", "cid", "cy@shop.example")).exit_code == 0
        async with housed(desk) as made:
            yield made


async def command(stage, app, *words):
    whole = [*words, "--config", str(stage.config)]
    return await asyncio.to_thread(CliRunner().invoke, app, whole)


async def said(house, who, method, path, body=None):
    answer = await house.api(method, path, body, **house.desk.operators[who])
    return answer.status, answer.json()


async def proposed(house, told, note="another"):
    files = [{"name": "policy/main.yaml", "text": f"# {note}\n{yaml.safe_dump(told)}"}]
    status, made = await said(house, "ada", "POST", RELEASES, {"files": files, "note": note})
    assert status == 201, made
    return made["number"]


async def approved(house, who, number):
    return await said(house, who, "POST", f"{RELEASES}/{number}/approve", {"reason": "looked"})


async def test_whom_the_rules_of_what_a_release_changes_do_not_name_puts_nothing_in_force(house):
    wider = text()
    wider["roles"]["support_agent"]["denied_tools"] = []
    number = await proposed(house, wider)
    status, refused = await approved(house, "sam", number)
    assert (status, refused["code"]) == (403, "PC3080")
    assert refused["detail"].endswith("rule support, those who may approve this are: eve")
    _, shown = await said(house, "sam", "GET", f"{RELEASES}/{number}")
    assert [(one["rule"], one["you"]) for one in shown["rules"]] == [
        ("policy", True),
        ("support", False),
    ], "the rules of calls, and of agents that stay as they are, do not speak of it"
    assert "rule support" in shown["hindrance"]
    page = (await house.person("sam").get(f"{place(number)}", accept="text/html")).text
    assert "You are not of them" in page
    assert f'action="{place(number)}/approve"' not in page
    form = {"reason": "x", "active": "1"}
    assert (await house.person("sam").act(f"{place(number)}/approve", **form)).code == "PC3080"
    stage = house.desk.stage
    listed = await command(stage, policy_app, "release", "show", str(number))
    assert "may approve by the rule support: eve; not you" in listed.output
    done = await command(stage, policy_app, "release", "approve", str(number), "--reason", "x")
    assert done.exit_code != 0
    early = await said(house, "ada", "POST", f"{RELEASES}/{number}/activate")
    assert early[1]["code"] == "PC7032"
    await standins.eventually(
        stage, lambda event: event.code == "PC3080" and event.principal == "sam"
    )
    assert (await approved(house, "eve", number))[0] == 200
    by = await standins.eventually(stage, lambda event: event.method == "policy.release.approve")
    assert (by.principal, by.parameters["rules"]) == ("eve", ["policy", "support"])
    roles = await standins.eventually(stage, lambda event: event.method == "operators.roles")
    assert roles.parameters == {"roles": {"owner": ["access.certify", "look"]}, "apart": []}
    assert (await said(house, "ada", "POST", f"{RELEASES}/{number}/activate"))[0] == 200

    wider["agents"]["new-agent"] = {"role": "desk", "owner": "new team"}
    number = await proposed(house, wider, "an agent that no rule names")
    assert (await approved(house, "sam", number))[0] == 200, "only its own rule speaks of it"
    wider["roles"]["desk"]["allowed_tools"].append("crm.list_customers")
    number = await proposed(house, wider, "the desk team's agents may more")
    for who in ("sam", "eve"):
        assert (await approved(house, who, number))[1]["code"] == "PC3080", "nobody may"


def place(number):
    return f"/policy/releases/{number}"


async def test_an_agent_is_confirmed_by_who_answers_for_it_and_by_nobody_else(house):
    stage = house.desk.stage
    release = (await said(house, "vic", "GET", "/api/v1/policy/review"))[1]["release"]
    body = {"release": release, "reason": "looked at it"}

    async def confirmed(who, agent):
        return await said(house, who, "POST", f"{AGENTS}/{agent}/confirm", body)

    for who, agent, owner in (
        ("ada", OTHER, "the team desk team answers"),
        ("cid", OTHER, "the team desk team answers"),
        ("sue", standins.AGENT, "cy@shop.example answers"),
        ("ada", standins.AGENT, "cy@shop.example answers"),
    ):
        status, refused = await confirmed(who, agent)
        assert (status, refused["code"]) == (403, "PC3087"), who
        assert owner in refused["detail"], "the directory's owner, not the policy's"
        page = (await house.person(who).get(f"/policy/agents/{agent}", accept="text/html")).text
        assert "You may not confirm it" in page
    assert (await confirmed("bea", OTHER))[1]["code"] == "PC2004", "the right is asked for first"
    words = ("certify", "confirm", OTHER, "--reason", "x")
    assert (await command(stage, policy_app, *words)).exit_code != 0
    listed = await command(stage, policy_app, "certify", "list", OTHER)
    assert "desk team answers for it" in listed.output
    assert "you may not confirm it" in listed.output

    sue = house.person("sue")
    assert "You may not" not in (await sue.get(f"/policy/agents/{OTHER}", accept="text/html")).text
    form = {"release": str(release), "reason": "looked with the desk"}
    assert (await sue.act(f"/policy/agents/{OTHER}/confirm", **form)).status == 303
    status, certificate = await confirmed("cid", standins.AGENT)
    assert (status, certificate["owner"], certificate["by"]) == (200, "cy@shop.example", "cid")
    _, history = await said(house, "sue", "GET", f"{AGENTS}/{OTHER}/certificates")
    assert (history["certificates"][0]["by"], history["hindrance"]) == ("sue", "")
    revoke = {"grant": "roles.desk.allowed_tools[0]", "reason": "no more"}
    assert (await said(house, "sue", "POST", f"{AGENTS}/{OTHER}/revoke-grant", revoke))[0] == 403
    status, revoked = await said(house, "ada", "POST", f"{AGENTS}/{OTHER}/revoke-grant", revoke)
    assert (status, revoked["certificate"]["owner"]) == (200, "desk team"), revoked
    _, report = await said(house, "vic", "GET", "/api/v1/policy/review")
    (finding,) = [one for one in report["findings"] if one["kind"] == "owners"]
    assert (finding["agents"], finding["severity"]) == ([standins.AGENT], "medium")
