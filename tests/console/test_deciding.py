"""Deciding in a browser: what operators see, and what their clicks and keys really do."""

import asyncio
import re
import time

import pytest
from mcp import MCPError

import standins
from console.windows import PHONE, chromium, waits, window
from e2e.approvals.desk import MAIL, desks
from portcullis.core.approval import State, Verb

SUBJECT = {"customer_id": "C-1001"}

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    async with desks(tmp_path_factory.mktemp("house"), refusals=1000) as made:
        yield made


@pytest.fixture(scope="module")
async def browser(anyio_backend):
    async with chromium() as made:
        yield made


@pytest.fixture
async def desk(house):
    """The gate of the module with a session of its own for each test, and nothing that waits."""
    store = house.stage.gate.services.approval_parts.store
    for one in store.list({State.PENDING}, 1000):
        store.move(one.id, Verb.CANCEL, now=time.time())
    await house.open()
    house.begin()
    return house


async def held(desk, arguments=MAIL):
    """A call of the real client's that waits now; its approval."""
    return (await desk.send(arguments)).meta["portcullis/approval"]


async def test_a_call_that_is_approved_in_the_browser_goes_through_once(desk, browser):
    approval = await held(desk)
    async with window(browser, desk) as mine:
        await mine.open("/")
        await mine.page.click("text=mail.send")
        text = await mine.page.inner_text("main")
        assert MAIL["to"] in text
        assert MAIL["body"] in text
        assert "Where is my order O-5001?" in text
        assert "EMAIL_ADDRESS in params.arguments.to" in text
        await mine.page.check("[name=confirmed]")
        await mine.page.fill("#approve [name=reason]", "asked the customer")
        await mine.page.click("button.approve")
        await mine.page.wait_for_url("**/?done=*")
        assert "approved" in await mine.page.inner_text(".notice")
        assert desk.mails() == 0
        assert not (await desk.send()).is_error
        assert desk.mails() == 1
        await mine.open(f"/approvals/{approval}")
        assert "consumed" in await mine.page.inner_text("#approval")
        assert MAIL["body"] not in await mine.page.inner_text("main")
        link = f"a[href='/approvals/{approval}']"
        until = time.monotonic() + 10
        await mine.open(f"/decisions?session={desk.session}")
        while await mine.page.locator(link).count() < 2:  # it waited, then it went through
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
            await mine.page.reload()
        await mine.open("/live?kind=decision")
        await mine.page.wait_for_selector("body[data-live=on]")
        other = await held(desk, MAIL | {"subject": "live"})
        await mine.page.click(f"a[href='/approvals/{other}']")
        await mine.page.wait_for_url(f"**/approvals/{other}")
    events = [event.method for event in desk.stage.events() if event.approval == approval]
    assert {"approval.read", "approval.approved", "approval.consumed"} <= set(events)


async def test_a_call_that_is_denied_in_the_browser_stays_denied(desk, browser):
    approval = await held(desk)
    async with window(browser, desk) as mine:
        await mine.open(f"/approvals/{approval}")
        await mine.page.fill("#deny [name=reason]", "nobody asked for it")
        await mine.page.click("#deny button")
        await mine.page.wait_for_url("**/?done=*")
    assert (await desk.refused())["code"] == "PC3041"
    assert desk.mails() == 0


async def test_what_deletes_is_approved_only_with_its_name_typed(desk, browser):
    made = waits(desk)
    store = desk.stage.gate.services.approval_parts.store
    async with window(browser, desk) as mine:
        await mine.open(f"/approvals/{made.id}")
        await mine.page.fill("#approve [name=reason]", "the customer asked")
        await mine.page.click("button.approve")  # the browser asks for what is missing
        await mine.focus("typed")
        await mine.page.fill("[name=typed]", "crm.delete_customers")
        await mine.page.click("button.approve")
        assert "PC3054" in await mine.page.inner_text("[role=alert]")
        assert await mine.page.input_value("#approve [name=reason]") == "the customer asked"
        assert store.get(made.id).state == "pending"
        mine.complaints.clear()  # chromium logs every answer with status 409
        await mine.page.fill("[name=typed]", "crm.delete_customer")
        await mine.page.click("button.approve")
        await mine.page.wait_for_url("**/?done=*")
    assert store.get(made.id).state == "approved"


async def test_who_may_not_decide_is_told_on_the_page(desk, browser):
    approval = await held(desk)
    async with window(browser, desk, "cy") as mine:  # the agent's owner
        await mine.open(f"/approvals/{approval}")
        assert "You may not approve it" in await mine.page.inner_text("#hindrance")
        assert await mine.page.locator("#approve").count() == 0
        await mine.page.evaluate(
            "() => { const form = document.querySelector('form#deny');"
            " form.action = form.action.replace(/deny$/, 'approve');"
            " for (const name of ['confirmed', 'whole']) {"
            " const said = document.createElement('input'); said.type = 'hidden';"
            " said.name = name; said.value = 'yes'; form.append(said); } }"
        )
        await mine.page.fill("#deny [name=reason]", "looks fine")
        await mine.page.click("#deny button")
        said = await mine.page.inner_text("[role=alert]")
        assert "PC3046" in said
        assert "Let somebody else decide" in said
        mine.complaints.clear()
    async with window(browser, desk, "vic") as mine:  # may only look
        await mine.open(f"/approvals/{approval}")
        assert "PC2004" in await mine.page.inner_text("main")
        mine.complaints.clear()
    assert desk.stage.gate.services.approval_parts.store.get(approval).state == "pending"


async def test_a_form_about_another_call_decides_nothing(desk, browser):
    approval, other = await held(desk), waits(desk)
    async with window(browser, desk) as mine:
        await mine.open(f"/approvals/{approval}")
        await mine.page.evaluate(
            "([id, binding]) => { const form = document.querySelector('#deny');"
            " form.binding.value = binding; }",
            [approval, other.binding],
        )
        await mine.page.fill("#deny [name=reason]", "nobody asked for it")
        await mine.page.click("#deny button")
        assert "PC3055" in await mine.page.inner_text("[role=alert]")
        mine.complaints.clear()


async def test_the_keyboard_alone_leads_through_the_inbox(desk, browser):
    made = [waits(desk, risk="modify", name=f"change_{n}") for n in ("one", "two", "three")]
    async with window(browser, desk) as mine:
        await mine.open("/")
        await mine.key("j")
        await mine.focus("crm.change_one")
        await mine.key("j", "j", "k")
        await mine.focus("crm.change_two")
        await mine.key("Enter")
        await mine.page.wait_for_url(f"**/approvals/{made[1].id}*")
        await mine.key("j")
        await mine.page.wait_for_url(f"**/approvals/{made[2].id}*")
        await mine.key("k")
        await mine.page.wait_for_url(f"**/approvals/{made[1].id}*")
        await mine.key("?")
        assert await mine.page.is_visible("#keys")
        await mine.key("?", "a")
        await mine.focus("reason")
        await mine.page.keyboard.type("j and k are letters here")
        await mine.key("Enter")  # to the button
        await mine.page.wait_for_timeout(800)
        await mine.key("Enter")
        await mine.page.wait_for_url("**/?done=*")
        assert mine.path().endswith(f"#a-{made[2].id}")  # the one that comes next
        await mine.key("d")  # nothing is chosen: nothing opens
        assert "Choose one" in await mine.page.inner_text("#announcements")
        await mine.key("j", "d")
        await mine.page.wait_for_url("**/approvals/*")
        assert await mine.page.evaluate("() => scrollY") == 0  # it is read first
        await mine.key("d")
        await mine.focus("reason")
        await mine.key("Escape", "u")
        await mine.page.wait_for_url(f"{mine.base}/")
    store = desk.stage.gate.services.approval_parts.store
    assert store.get(made[1].id).reason == "j and k are letters here"


@pytest.mark.parametrize(
    "typed",
    [
        "Not asked for, and a denial\n",
        "all good\nthanks, and so on",
        "deny it\nnot yours",
        "a\n\n x",
    ],
)
async def test_what_is_typed_beside_a_field_decides_nothing(desk, browser, typed):
    made = waits(desk, risk="modify", name="change")
    async with window(browser, desk) as mine:
        await mine.open(f"/approvals/{made.id}")
        await mine.page.keyboard.type(typed, delay=20)
        await mine.page.wait_for_timeout(300)
        assert mine.path() == f"/approvals/{made.id}"
    store = desk.stage.gate.services.approval_parts.store
    assert store.get(made.id).state is State.PENDING


async def test_a_key_that_is_held_down_decides_nothing(desk, browser):
    made = waits(desk, risk="modify", name="change")
    async with window(browser, desk) as mine:
        await mine.open(f"/approvals/{made.id}")
        await mine.key("a")
        await mine.page.keyboard.type("because")
        await mine.page.keyboard.down("Enter")  # to the button
        await mine.page.wait_for_timeout(800)  # a keyboard that repeats late
        await mine.page.keyboard.down("Enter")
        await mine.page.keyboard.up("Enter")
        assert "Not yet" in await mine.page.inner_text("#announcements")
        assert mine.path() == f"/approvals/{made.id}"
    store = desk.stage.gate.services.approval_parts.store
    assert store.get(made.id).state is State.PENDING


async def test_single_keys_can_be_switched_off(desk, browser):
    waits(desk, risk="modify", name="change")
    async with window(browser, desk) as mine:
        await mine.open("/account")
        await mine.page.check("#keys-off")
        await mine.open("/")
        await mine.key("j")
        assert await mine.page.evaluate("() => document.activeElement.tagName") == "BODY"
        assert await mine.page.is_hidden("#keys-hint")
        await mine.open("/account")
        await mine.page.uncheck("#keys-off")
        await mine.open("/")
        await mine.key("j")
        await mine.focus("crm.change")


async def test_what_comes_in_appears_and_what_is_decided_leaves_under_the_keyboard(desk, browser):
    first, second = await held(desk), await held(desk, MAIL | {"subject": "again"})
    async with window(browser, desk) as mine:
        await mine.open("/")
        await mine.page.wait_for_selector("body[data-live=on]")
        await mine.key("j")
        third = await held(desk, MAIL | {"subject": "once more"})
        await mine.page.wait_for_selector(f"[data-id='{third}']")
        assert await mine.page.inner_text("#waiting") == "3"
        assert "New: mail.send" in await mine.page.inner_text("#announcements")
        focused = "() => document.activeElement.closest('[data-row]').dataset.id"
        assert await mine.page.evaluate(focused) == first
        store = desk.stage.gate.services.approval_parts.store
        store.mark([first], "reminded", time.time())
        await held(desk, MAIL | {"subject": "and again"})
        await mine.page.wait_for_selector(f"[data-id='{first}'] >> text=reminded")
        assert await mine.page.evaluate(focused) == first
        await desk.decide("bea", first, "deny")
        await mine.page.wait_for_selector(f"[data-id='{first}']", state="detached")
        heading = "() => document.activeElement.tagName"
        assert (
            await mine.page.evaluate(heading) == "H1"
        )  # a key for the first must not act on another
        await mine.page.click(f"[data-id='{second}'] a")
        await mine.page.wait_for_selector("body[data-live=on]")
        await desk.decide("bea", second, "deny")
        await mine.page.wait_for_selector("#moved:not([hidden])")


async def test_the_filters_stand_in_the_address_and_survive_the_decision(desk, browser):
    waits(desk, risk="modify", name="change", agent="other-agent")
    one, two = (waits(desk, risk="modify", name="change") for _ in range(2))
    async with window(browser, desk) as mine:
        await mine.open("/")
        await mine.page.fill("[name=agent]", "support-agent-prod-001")
        await mine.page.fill("[name=tool]", "crm.change")
        await mine.page.select_option("[name=risk]", "modify")
        await mine.page.click(".toolbar button")
        await mine.page.wait_for_url("**/?agent=support-agent-prod-001*")
        assert await mine.page.locator("[data-row]").count() == 2
        await mine.page.click(f"[data-id='{one.id}'] a")
        await mine.page.fill("#deny [name=reason]", "no")
        await mine.page.click("#deny button")
        await mine.page.wait_for_url("**done=*")
        assert "agent=support-agent-prod-001" in mine.path()
        assert await mine.page.locator("[data-row]").count() == 1
        await mine.open("/?state=denied&tool=crm")
        assert await mine.page.locator(f"[data-id='{one.id}']").count() == 1
        await mine.open("/?state=sleeping")
        assert "PC1020" in await mine.page.inner_text("main")
        mine.complaints.clear()
    assert desk.stage.gate.services.approval_parts.store.get(two.id).state == "pending"


async def test_the_time_that_is_left_runs_down(desk, browser):
    waits(desk, expires_at=time.time() + 65)
    async with window(browser, desk) as mine:
        await mine.open("/")
        left = mine.page.locator("time[data-until]").first
        before = await left.inner_text()
        assert re.fullmatch(r"1 min \d+ s left|\d+ s left", before)
        await mine.page.wait_for_function(
            "(before) => document.querySelector('time[data-until]').textContent !== before",
            arg=before,
        )


async def test_more_than_a_page_waits_and_all_of_it_can_be_reached(desk, browser):
    for number in range(60):
        waits(desk, risk="modify", name=f"change_{number}", created_at=1e9 + number)
    async with window(browser, desk) as mine:
        await mine.open("/")
        assert await mine.page.locator("[data-row]").count() == 50
        await mine.page.click("text=More")
        await mine.page.wait_for_url("**cursor=*")
        assert await mine.page.locator("[data-row]").count() == 10
        await mine.page.click("text=First page")
        await mine.page.wait_for_selector("text=crm.change_0")


async def test_without_javascript_one_looks_approves_and_denies(desk, browser):
    approval = await held(desk)
    waits(desk)
    async with window(browser, desk, java_script_enabled=False, viewport=PHONE) as mine:
        await mine.open("/")
        assert await mine.page.locator("meta[http-equiv=refresh]").count() == 1
        await mine.page.click("text=mail.send")
        await mine.page.check("[name=confirmed]")
        await mine.page.fill("#approve [name=reason]", "asked the customer")
        await mine.page.click("button.approve")
        assert "approved" in await mine.page.inner_text(".notice")
        await mine.page.click("text=crm.delete_customer")
        await mine.page.fill("#deny [name=reason]", "not today")
        await mine.page.click("#deny button")
        assert "denied" in await mine.page.inner_text(".notice")
    assert desk.stage.gate.services.approval_parts.store.get(approval).state == "approved"
    assert not (await desk.send()).is_error


async def test_an_agent_is_cut_off_in_the_browser_and_its_next_call_fails(desk, browser):
    await desk.operator("rey", "responder")
    async with (
        window(browser, desk, "rey") as mine,
        standins.mcp_client(desk.stage, "crm", desk.token) as client,
    ):
        assert not (await client.call_tool("get_customer", SUBJECT)).is_error
        await mine.open(f"/agents/{standins.AGENT}")
        await mine.page.click("button:has-text('Cut off')")
        await mine.page.wait_for_selector("text=/acted after .* ms/")
        await mine.picture("killed")
        await mine.open(f"/agents/{standins.AGENT}")
        await mine.page.wait_for_selector("h1 .state-killed")
        with pytest.raises(MCPError) as refused:
            await client.call_tool("get_customer", SUBJECT)
        assert refused.value.error.data["code"] == "PC4001"
        assert await mine.page.locator("text=Undo the kill").count() == 0  # an admin's
    async with window(browser, desk, "ada") as mine:
        await mine.open(f"/agents/{standins.AGENT}")
        await mine.page.click("text='Revoke it for ever'")
        await mine.page.fill("[name=typed]", "another")
        await mine.page.click("text='Revoke'")
        assert "PC3054" in await mine.page.inner_text("[role=alert]")
        mine.complaints.clear()
        await mine.page.fill("#undo-reason", "it was a drill")
        await mine.page.click("text='Undo the kill'")
        await mine.page.wait_for_selector("h1 .state-active")
    await desk.open()
    async with standins.mcp_client(desk.stage, "crm", desk.token) as client:
        assert not (await client.call_tool("get_customer", SUBJECT)).is_error


async def test_an_agent_that_may_not_ask_is_shown_and_lifted_by_an_administrator(desk, browser):
    parts = desk.stage.gate.services.approval_parts
    parts.store.freeze(standins.AGENT, 1e9)
    async with window(browser, desk) as mine:
        await mine.open("/")
        assert "may ask for nothing more" in await mine.page.inner_text("main")
        assert await mine.page.locator("text=Lift").count() == 0
    async with window(browser, desk, "ada") as mine:
        await mine.open("/")
        await mine.page.fill(".inline [name=reason]", "talked to its owner")
        await mine.page.click("text='Lift'")
        await mine.page.wait_for_load_state()
        assert "may ask for nothing more" not in await mine.page.inner_text("main")
    assert parts.store.frozen() == ()
