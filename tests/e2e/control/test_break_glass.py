"""Breaking the glass: rights for a while, told, marked, ended, and reviewed by somebody else."""

import asyncio

import pytest
from typer.testing import CliRunner

import standins
from console.people import housed
from e2e.approvals.desk import furnished, policy
from portcullis.cli.operator import app

pytestmark = pytest.mark.anyio

WHY = "nobody who may is awake"
PATH = "/api/v1/break-glass"
LOGIN = "/api/v1/login/break-glass"


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    settings = {"break_glass": {"may": ["approver"], "minutes": 30}}
    folder = tmp_path_factory.mktemp("glass")
    async with standins.staged(folder, policy=policy(), settings=settings) as stage:
        desk = await furnished(stage)
        await desk.operator("amy", "admin")
        await desk.operator("rex", "responder")
        async with housed(desk) as made:
            yield made


async def agent_acts(desk):
    async with standins.mcp_client(desk.stage, "crm", desk.token) as client:
        found = await client.call_tool("get_customer", {"customer_id": "C-1001"})
        return not found.is_error


async def said(house, method, path, header, body=None):
    answer = await house.api(method, path, body, **header)
    return answer.status, answer.json()


async def broken(house, secrets, **more):
    body = {**secrets.fields(), "reason": WHY, "minutes": 5, **more}
    return await said(house, "POST", LOGIN, {}, body)


@pytest.mark.control("break-glass", "mcp-http", "request")
async def test_rights_for_a_while_do_what_the_role_may_not_and_somebody_else_reviews_it(house):
    desk = house.desk
    secrets = await house.enrol("bea")
    agent = f"/api/v1/principals/agent/{standins.AGENT}"
    own = house.bearer("bea")
    assert await agent_acts(desk)
    assert (await said(house, "POST", f"{agent}/suspend", house.bearer("rex")))[0] == 200
    with pytest.raises(Exception):  # noqa: B017, PT011 - the client's, of many kinds
        await agent_acts(desk)
    assert (await said(house, "POST", f"{agent}/resume", own))[1]["code"] == "PC2004"

    status, view = await broken(house, secrets)
    assert status == 201, view
    raised, glass = {"authorization": f"Bearer {view['token']}"}, view["glass"]
    assert (glass["operator"], glass["roles"]) == ("bea", ["admin", "approver"])
    assert 0 < glass["ends_at"] - glass["began_at"] <= 300
    begun = await standins.eventually(
        desk.stage, lambda event: event.method == "break_glass.begun" and event.name == glass["id"]
    )
    assert (begun.principal, begun.parameters["reason"]) == ("bea", WHY)

    assert (await said(house, "POST", f"{agent}/resume", raised))[0] == 200
    assert await agent_acts(desk)
    resumed = await standins.eventually(
        desk.stage, lambda event: event.method == "principals.resume"
    )
    assert resumed.parameters["break_glass"] == glass["id"]
    for path, body in [
        ("/api/v1/principals", {"kind": "operator", "id": "eve", "owner": "x", "roles": ["admin"]}),
        ("/api/v1/principals/operator/bea/roles", {"roles": ["admin"]}),
        ("/api/v1/principals/operator/cy/users", {"users": []}),
        ("/api/v1/principals/operator/cy/password", {"password": "a long password"}),
    ]:
        assert (await said(house, "POST", path, raised, body))[1]["code"] == "PC3086", path
    page = await house.person("vic").get("/", accept="text/html")
    assert "The glass is broken" in page.text
    assert WHY in page.text
    alerts = await told(house)
    assert alerts["level"] == "critical"

    place = f"{PATH}/{glass['id']}"
    judged = {"judgement": "justified", "reason": "the agent was needed"}
    early = await said(house, "POST", f"{place}/review", house.bearer("amy"), judged)
    assert early[1]["code"] == "PC3085"
    assert (await said(house, "POST", f"{place}/end", house.bearer("vic")))[1]["code"] == "PC2004"
    assert (await said(house, "POST", f"{place}/end", house.bearer("rex")))[0] == 200
    assert (await said(house, "POST", f"{agent}/suspend", raised))[1]["code"] == "PC4001"

    assert (await broken(house, secrets))[1]["code"] == "PC3082"
    page = await house.person("vic").get("/", accept="text/html")
    assert "To be reviewed by somebody else" in page.text
    await desk.operator("bea-admin", "admin")
    known = ("is", "bea-admin", "bea")
    assert (await command(house, *known)).exit_code == 0
    same = await said(house, "POST", f"{place}/review", house.bearer("bea-admin"), judged)
    assert same[1]["code"] == "PC3083"
    done = await said(house, "POST", f"{place}/review", house.bearer("amy"), judged)
    assert (done[0], done[1]["closed_by"], done[1]["judgement"]) == (200, "amy", "justified")
    again = await said(house, "POST", f"{place}/review", house.bearer("amy"), judged)
    assert again[1]["code"] == "PC3085"
    page = await house.person("vic").get("/", accept="text/html")
    assert "glass" not in page.text


async def told(house):
    for _ in range(150):
        _, found = await said(house, "GET", "/api/v1/alerts", house.bearer("vic"))
        for one in found["alerts"]:
            if one["rule"] == "glass-broken":
                return one
        await asyncio.sleep(0.02)
    raise AssertionError(found)


async def command(house, *words, env=None):
    whole = [*words, "--config", str(house.desk.stage.config)]
    return await asyncio.to_thread(CliRunner().invoke, app, whole, env=env)


async def test_the_command_line_breaks_the_glass_lists_ends_and_reviews_it(house):
    secrets = await house.enrol("cy")
    shown = secrets.fields()
    env = {"GLASS_PASSWORD": shown["password"], "GLASS_CODE": shown["code"]}
    given = ("--password", "env:GLASS_PASSWORD", "--code", "env:GLASS_CODE", "--reason", WHY)
    done = await command(house, "break-glass", "cy", *given, "--minutes", "5", env=env)
    assert done.exit_code == 0, done.output
    listed = (await command(house, "glass")).output
    (row,) = [line for line in listed.splitlines() if " cy " in line]
    assert "NOT REVIEWED" in row
    assert WHY in row
    glass = row.split()[0]
    assert (await command(house, "end-glass", glass)).exit_code == 0
    done = await command(house, "review-glass", glass, "--unjustified", "--reason", "no need")
    assert done.exit_code == 0, done.output
    assert "unjustified, local-" in (await command(house, "glass")).output


async def test_it_is_open_to_those_whom_the_configuration_names_and_only_for_so_long(house):
    await house.desk.operator("sam", "viewer")
    await house.desk.operator("dee", "approver")
    secrets = await house.enrol("sam")
    assert (await broken(house, secrets))[1]["code"] == "PC3081"
    secrets = await house.enrol("dee")
    assert (await broken(house, secrets, minutes=31))[1]["code"] == "PC3081"
    wrong = secrets.fields() | {"password": "not the password"}
    status, refused = await said(house, "POST", LOGIN, {}, wrong | {"reason": WHY, "minutes": 5})
    assert (status, refused["code"]) == (401, "PC2070")
    _, found = await said(house, "GET", PATH, house.bearer("vic"))
    assert not {"sam", "dee"} & {one["operator"] for one in found["broken"]}
