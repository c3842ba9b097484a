"""Breaking the glass: rights for a while, told, marked, ended, and reviewed by somebody else."""

import asyncio

import pytest
from typer.testing import CliRunner

import standins
from authenticators import Authenticator
from console.people import housed
from console.windows import SCREEN, Window, chromium
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
    for _ in range(1500):
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


async def test_in_the_console_password_and_code_raise_the_rights_of_that_login_for_a_while(house):
    await house.desk.operator("pat", "approver")
    secrets, person = await house.enrol("pat"), house.person("pat")
    before = house.person("pat")
    shown = secrets.fields()
    fields = {"reason": WHY, "minutes": "5", "password": shown["password"], "code": shown["code"]}
    page = (await person.get("/glass", accept="text/html")).text
    assert 'action="/glass/begin"' in page
    assert "glass-passkey" not in page, "there is no passkey yet"
    wrong = await person.act("/glass/begin", **fields | {"password": "not the password"})
    assert (wrong.status, wrong.code, wrong.cookie) == (401, "PC2070", "")
    assert "not the password" not in wrong.text
    forged = await person.send("/glass/begin", fields)
    assert (forged.code, forged.cookie) == ("PC2081", "")
    fields["code"] = secrets.fields()["code"]
    late = await person.act("/glass/begin", **{**fields, "minutes": "31"})
    assert (late.code, late.cookie) == ("PC3081", "")

    fields["code"] = secrets.fields()["code"]
    done = person.into(await person.act("/glass/begin", **fields))
    assert (done.status, done.place) == (303, "/"), done.text
    lasts = int(done.headers["set-cookie"].lower().partition("max-age=")[2].partition(";")[0])
    assert 0 < lasts <= 300
    bearer = {"authorization": f"Bearer {person.token}"}
    assert (await house.api("GET", "/api/v1/version", **bearer)).code == "PC2032"
    page = (await person.get("/", accept="text/html")).text
    assert "The glass is broken" in page
    assert WHY in page
    assert (await before.act("/agents/none/resume", reason="x")).code == "PC2004"
    raised = await person.act("/agents/none/resume", reason="x")
    assert raised.code not in {"PC2004", ""}
    refusal = await standins.eventually(
        house.desk.stage, lambda event: event.code == raised.code and event.principal == "pat"
    )
    assert refusal.parameters["break_glass"]
    assert (await person.add(Authenticator())).code == "PC3086", "nothing that lasts"

    glass = next(one for one in await listed(house) if one["operator"] == "pat")
    stranger = await house.person("vic").act("/glass/end", glass=glass["id"])
    assert stranger.code == "PC2004"
    ended = await person.act("/glass/end", glass=glass["id"])
    assert (ended.status, ended.place) == (303, "/login")
    assert (await person.get("/", accept="text/html")).code == "PC4001"
    own = await before.act("/glass/review", glass=glass["id"], judgement="justified", reason="x")
    assert own.code == "PC2004"
    amy = house.person("amy")
    nothing = await amy.act("/glass/review", glass=glass["id"], judgement="so so", reason="x")
    assert nothing.code == "PC1020"
    done = await amy.act("/glass/review", glass=glass["id"], judgement="justified", reason="seen")
    assert (done.status, done.place) == (303, "/glass")
    assert "justified by <bdi>amy" in (await amy.get("/glass", accept="text/html")).text


async def listed(house):
    return (await said(house, "GET", PATH, house.bearer("vic")))[1]["broken"]


async def test_only_ones_own_passkey_shown_for_this_breaks_the_glass(house):
    await house.desk.operator("kim", "approver")
    await house.desk.operator("lee", "approver")
    person, phone = house.person("kim"), Authenticator()
    assert (await person.add(phone)).status == 200
    other, lees = house.person("lee"), Authenticator()
    assert (await other.add(lees)).status == 200
    wanted = {"reason": WHY, "minutes": "5"}

    async def tried(who, key, *, begin="/glass/passkey/begin"):
        own = begin.startswith("/glass")
        begun = (await (who.act(begin) if own else who.send(begin, {}))).json()
        answer = key.show(begun["options"], origin=person.base)
        shown = {"ceremony": begun["ceremony"], "credential": answer}
        return shown, await person.act("/glass/passkey", **wanted, **shown)

    for who, key, begin in (
        (person, lees, "/glass/passkey/begin"),
        (other, phone, "/glass/passkey/begin"),
        (person, phone, "/login/passkey/begin"),
    ):
        _, refused = await tried(who, key, begin=begin)
        assert (refused.status, refused.code, refused.cookie) == (401, "PC2083", ""), begin
    shown, done = await tried(person, phone)
    assert (done.status, done.json()) == (200, {"next": "/"}), done.text
    assert (await person.act("/glass/passkey", **wanted, **shown)).code == "PC2083", "once"
    raised = house.person("kim")
    raised.token = done.cookie
    assert "The glass is broken" in (await raised.get("/", accept="text/html")).text
    (glass,) = [one for one in await listed(house) if one["operator"] == "kim"]
    assert glass["roles"] == ["admin", "approver"]
    await raised.act("/glass/end", glass=glass["id"])


async def test_a_browser_breaks_the_glass_by_a_passkey_and_somebody_else_reviews_it(house):
    name, reason = "joy", "the queue burns"
    await house.desk.operator(name, "approver")
    async with chromium() as browser:
        context = await browser.new_context(viewport=SCREEN)
        window = Window(await context.new_page(), house.base)
        page = window.page
        page.set_default_timeout(15_000)

        async def enter(who):
            cookie = {"name": "portcullis", "value": house.person(who).token, "url": house.base}
            await context.add_cookies([cookie])

        await enter(name)
        await device(context, page)
        await window.open("/account")
        await page.get_by_role("button", name="Add a passkey").click()
        await page.get_by_role("cell", name="This device", exact=True).wait_for()
        await page.get_by_role("link", name="Break the glass").click()
        form = page.locator("#glass-passkey")
        await form.get_by_label("minutes").fill("7")
        await form.get_by_label("Why").fill(reason)
        assert await window.faults() == []
        await form.get_by_role("button").click()
        await page.wait_for_url(f"{house.base}/")
        banner = page.locator(".banner.glass", has_text=reason)
        assert "joy acts as admin, approver" in await banner.inner_text()
        await banner.get_by_role("link").click()
        await page.get_by_role("button", name="End it for joy").click()
        await page.wait_for_url("**/login")

        await enter("amy")
        await window.open("/glass")
        row = page.get_by_role("row", name="joy")
        await row.get_by_text("Review what joy did").click()
        await row.get_by_label("It was").select_option("not justified")
        await row.get_by_label("Because").fill("the queue was well")
        assert await window.faults() == []
        assert await window.overflow() <= 0
        await row.get_by_role("button", name="Close the review").click()
        await page.get_by_text("unjustified by amy").wait_for()
        await context.close()


async def device(context, page):
    """A passkey device in the browser (WebDriver's virtual authenticator)."""
    devtools = await context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "automaticPresenceSimulation": True}
    options |= {"hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}
    await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
