"""Roles of one's own: what their rights allow over the API and in the console, and no way past."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

import standins
from console.people import housed
from e2e.approvals.desk import furnished, policy
from portcullis.cli.doctor_operators import operators as looked_at
from portcullis.cli.operator import app
from portcullis.config import load
from portcullis.core.lifecycle import State
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio

ROLES = {
    "on-call": {"rights": ["kill", "sessions.close"], "about": "who is woken at night"},
    "people": {"rights": ["operators.manage", "alerts.settle"]},
    "author": {"rights": ["releases.propose"]},
    "both": {"rights": ["releases.propose", "releases.approve"]},
    "reader": {"rights": ["content.read"]},
    "stand-in": {"rights": ["alerts.settle"]},
}
SETTINGS = {
    "roles": ROLES,
    "rights_apart": [["content.read", "content.erase"]],
    "break_glass": {"may": ["on-call", "stand-in"], "roles": ["author"], "minutes": 30},
}
OPERATOR = "/api/v1/principals/operator"
AGENT = f"/api/v1/principals/agent/{standins.AGENT}"
LONG = "a long password indeed"


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("rights")
    async with standins.staged(folder, policy=policy(), settings=SETTINGS) as stage:
        desk = await furnished(stage)
        for name, role in [
            ("olga", "on-call"),
            ("pia", "people"),
            ("amy", "admin"),
            ("lena", "was-configured-once"),
        ]:
            await desk.operator(name, role)
        async with housed(desk) as made:
            yield made


async def said(house, method, path, who, body=None):
    header = who if isinstance(who, dict) else house.bearer(who)
    answer = await house.api(method, path, body, **header)
    return answer.status, answer.json()


async def command(house, *words, env=None):
    whole = [*words, "--config", str(house.desk.stage.config)]
    return await asyncio.to_thread(CliRunner().invoke, app, whole, env=env)


def roles_of(house, name):
    return house.services.directory.get(PrincipalKind.OPERATOR, name).roles


async def agent_acts(house):
    desk = house.desk
    async with standins.mcp_client(desk.stage, "crm", desk.token) as client:
        found = await client.call_tool("get_customer", {"customer_id": "C-1001"})
        return not found.is_error


@pytest.mark.control("operator-rights", "mcp-http", "request")
async def test_who_has_the_right_ends_what_an_agent_does_and_lets_it_go_on(house):
    await house.desk.operator("arne", "author")
    body = {"scope": "agent", "value": standins.AGENT, "reason": "woken"}
    assert (await said(house, "POST", "/api/v1/kills", "arne", body))[1]["code"] == "PC2004"
    assert await agent_acts(house)
    assert (await said(house, "POST", "/api/v1/kills", "olga", body))[0] == 200
    with pytest.raises(Exception):  # noqa: B017, PT011 - the client's, of many kinds
        await agent_acts(house)
    assert (await said(house, "POST", "/api/v1/kills/undo", "olga", body))[1]["code"] == "PC2004"
    with pytest.raises(Exception):  # noqa: B017, PT011 - the client's, of many kinds
        await agent_acts(house)
    assert (await said(house, "POST", "/api/v1/kills/undo", "amy", body))[0] == 200
    assert await agent_acts(house)


async def test_a_role_of_ones_own_does_what_its_rights_say_over_the_api_and_nothing_else(house):
    body = {"scope": "session", "value": "no-such-session", "reason": "woken"}
    assert (await said(house, "POST", "/api/v1/kills", "olga", body))[0] == 200
    assert (await said(house, "GET", "/api/v1/principals", "olga"))[0] == 200
    status, refused = await said(house, "POST", "/api/v1/kills/undo", "olga", body)
    assert (status, refused["code"]) == (403, "PC2004")
    assert refused["detail"] == "this needs the right kill.lift"
    assert "Roles that have it: admin." in refused["hint"]
    assert (await said(house, "POST", f"{AGENT}/suspend", "olga"))[1]["code"] == "PC2004"
    led = body | {"incident": "hostile-agent"}
    status, refused = await said(house, "POST", "/api/v1/kills", "olga", led)
    assert (status, refused["detail"]) == (403, "this needs the right incidents.lead")
    recorded = await standins.eventually(
        house.desk.stage,
        lambda event: event.principal == "olga" and event.code == "PC2004",
    )
    assert recorded.verdict == "deny"
    done = await standins.eventually(
        house.desk.stage,
        lambda event: event.principal == "olga" and event.method.startswith("kill"),
    )
    assert done.verdict == "allow"
    assert (await said(house, "POST", "/api/v1/kills/undo", "amy", body))[0] == 200


async def test_the_console_shows_and_takes_only_what_the_rights_allow(house):
    olga, amy = house.person("olga"), house.person("amy")
    seen = (await olga.get("/containment")).text
    assert ('id="cut"' in seen, 'id="isolate"' in seen) == (True, False)
    assert 'name="incident"' not in seen
    assert 'id="isolate"' in (await amy.get("/containment")).text
    page = (await olga.get(f"/agents/{standins.AGENT}")).text
    assert ("/kill" in page, "/suspend" in page, "/incidents/new" in page) == (True, False, False)
    who = {"scope": "session", "value": "another-session", "reason": "woken"}
    for path, code in [
        ("/containment/kill", ""),
        ("/containment/quarantine", "PC2004"),
        ("/containment/undo", "PC2004"),
        (f"/agents/{standins.AGENT}/suspend", "PC2004"),
        ("/silences", "PC2004"),
    ]:
        answer = await olga.act(path, **who)
        assert answer.code == code, (path, answer.status, answer.text)
    led = await olga.act("/containment/kill", **who, incident="hostile-agent")
    assert led.code == "PC2004"
    refused = await olga.get("/incidents/new", accept="text/html")
    assert "this needs the right incidents.lead" in refused.text
    assert (await olga.get("/incidents")).status == 200
    lena = house.person("lena")
    assert (await lena.get("/")).code == "PC2004"
    account = await lena.get("/account")
    assert (account.status, "<nav" in account.text) == (200, False)


async def test_a_role_that_is_not_configured_any_more_gives_nothing_and_is_told(house):
    status, refused = await said(house, "GET", "/api/v1/principals", "lena")
    assert (status, refused["code"]) == (403, "PC2004")
    listed = await command(house, "list")
    assert "lena: not configured and worth nothing: was-configured-once" in listed.output
    assert "olga" not in [line.partition(":")[0] for line in listed.output.splitlines()]
    found = {one.what: one for one in looked_at(load(house.desk.stage.config))}
    assert not found["operator lena"].ok
    assert "was-configured-once" in found["operator lena"].found
    assert "operator olga" not in found


async def test_nobody_gives_or_takes_over_rights_that_he_has_not(house):
    desk = house.desk
    await desk.operator("vera", "viewer")
    await desk.operator("stan", "stand-in")
    new = {"kind": "operator", "owner": "x"}
    tried = [
        ("POST", "/api/v1/principals", new | {"id": "e1", "roles": ["admin"]}, "PC7046"),
        ("POST", "/api/v1/principals", new | {"id": "e1", "roles": ["people", "both"]}, "PC7046"),
        ("POST", "/api/v1/principals", new | {"id": "e1", "roles": ["nobody-is"]}, "PC7043"),
        ("POST", f"{OPERATOR}/pia/roles", {"roles": ["admin"]}, "PC7046"),
        ("POST", f"{OPERATOR}/pia/roles", {"roles": ["people", "responder"]}, "PC7046"),
        ("POST", f"{OPERATOR}/vera/roles", {"roles": ["approver"]}, "PC7046"),
        ("POST", f"{OPERATOR}/amy/roles", {"roles": ["viewer"]}, "PC7046"),
        ("POST", f"{OPERATOR}/amy/password", {"password": LONG}, "PC7046"),
        ("POST", f"{OPERATOR}/amy/users", {"users": ["pia"]}, "PC7046"),
        ("POST", f"{OPERATOR}/amy/resume", None, "PC7046"),
        # who may break the glass is one step from what that gives
        ("POST", f"{OPERATOR}/pia/roles", {"roles": ["people", "stand-in"]}, "PC7046"),
        ("POST", "/api/v1/principals", new | {"id": "e1", "roles": ["stand-in"]}, "PC7046"),
        ("POST", f"{OPERATOR}/stan/password", {"password": LONG}, "PC7046"),
        # and a role that is not configured may have been any, and be it again
        ("POST", f"{OPERATOR}/lena/password", {"password": LONG}, "PC7046"),
        ("POST", f"{AGENT}/resume", None, "PC2004"),
        (
            "POST",
            "/api/v1/principals",
            {"kind": "agent", "id": "a", "owner": "x", "purpose": "y"},
            "PC2004",
        ),
    ]
    amy = house.bearer("amy")
    for method, path, body, code in tried:
        status, answer = await said(house, method, path, "pia", body)
        assert answer.get("code") == code, (path, status, answer)
    assert (roles_of(house, "pia"), roles_of(house, "amy")) == (("people",), ("admin",))
    assert (await said(house, "GET", "/api/v1/version", amy))[0] == 200  # nothing was cut off
    told = await standins.eventually(desk.stage, lambda event: event.code == "PC7046")
    assert (told.principal, told.verdict) == ("pia", "deny")

    given = new | {"id": "paul", "roles": ["people"]}
    assert (await said(house, "POST", "/api/v1/principals", "pia", given))[0] == 201
    assert (await said(house, "POST", f"{OPERATOR}/vera/roles", "pia", {"roles": ["people"]}))[
        0
    ] == 200
    assert (await said(house, "POST", f"{OPERATOR}/vera/password", "pia", {"password": LONG}))[
        0
    ] == 201


async def test_a_suspended_operator_is_resumed_only_by_who_has_as_much(house):
    services = house.services
    await house.desk.operator("ina", "investigator")
    pia = house.bearer("pia")
    assert (await said(house, "POST", f"{OPERATOR}/ina/suspend", "amy"))[0] == 200
    assert (await said(house, "POST", f"{OPERATOR}/ina/resume", pia))[1]["code"] == "PC7046"
    assert services.directory.get(PrincipalKind.OPERATOR, "ina").state is State.SUSPENDED
    assert (await said(house, "POST", f"{OPERATOR}/ina/resume", "amy"))[0] == 200


async def test_a_token_from_before_other_roles_were_given_is_worthless_at_once(house):
    await house.desk.operator("rolf", "on-call")
    before, body = house.bearer("rolf"), {"scope": "session", "value": "s-3", "reason": "r"}
    console = house.person("rolf")
    assert (await said(house, "POST", "/api/v1/kills", before, body))[0] == 200
    assert (await command(house, "role", "rolf", "--role", "author")).exit_code == 0
    assert (await said(house, "POST", "/api/v1/kills", before, body))[1]["code"] == "PC4001"
    assert (await said(house, "GET", "/api/v1/version", before))[1]["code"] == "PC4001"
    assert (await console.get("/", accept="application/json")).code == "PC4001"
    assert (await said(house, "POST", "/api/v1/kills", "rolf", body))[1]["code"] == "PC2004"


async def test_rights_that_are_kept_apart_are_not_given_together_and_count_only_once(house):
    clash = {"roles": ["investigator", "admin"]}
    status, refused = await said(house, "POST", f"{OPERATOR}/vic/roles", "amy", clash)
    assert (status, refused["code"]) == (409, "PC7044")
    body = {"subject": "user:nobody", "reason": "asked for"}
    status, refused = await said(house, "POST", "/api/v1/erasures", "amy", body)
    assert (status, refused["code"]) == (403, "PC2004")
    assert "which nobody has beside content.read" in refused["detail"]
    found = {one.what: one.found for one in looked_at(load(house.desk.stage.config))}
    assert "has not content.erase" in found["operator amy"]


async def test_the_command_line_knows_the_roles_and_the_glass_gives_one(house):
    listed = json.loads((await command(house, "roles", "--json")).output)
    assert listed["on-call"] == ["kill", "look", "sessions.close"]
    assert "on-call: who is woken at night" in (await command(house, "roles")).output
    refused = await command(house, "role", "vic", "--role", "on-cal")
    assert refused.exception.code == "PC7004"
    assert "on-call" in refused.exception.detail
    env = {"NEW_PASSWORD": LONG}
    words = ("add", "nora", "--owner", "ops", "--role", "on-call", "--password", "env:NEW_PASSWORD")
    assert (await command(house, *words, env=env)).exit_code == 0
    assert roles_of(house, "nora") == ("on-call",)

    secrets = await house.enrol("olga")
    body = {**secrets.fields(), "reason": "the author is asleep", "minutes": 5}
    status, view = await said(house, "POST", "/api/v1/login/break-glass", {}, body)
    assert (status, view["glass"]["roles"]) == (201, ["author", "on-call"])
    raised = {"authorization": f"Bearer {view['token']}"}
    asked = {"note": "n", "files": [{"name": "policy/a.yaml", "text": "x"}]}
    assert (await said(house, "POST", "/api/v1/policy/releases", raised, asked))[1][
        "code"
    ] != "PC2004"
    own = house.bearer("olga")
    assert (await said(house, "POST", "/api/v1/policy/releases", own, asked))[1]["code"] == "PC2004"
